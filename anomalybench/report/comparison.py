"""How sure the tables are: means with intervals, and differences between methods on the same images.

Within a category, the metric of each resample is averaged over folds and seeds; an image that several of them test has
the same weight in all. Categories share no image, so the variances of their means add up.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.evaluate import statistics
from anomalybench.evaluate.statistics import Interval, Ranking

Resamples = Callable[[str, str], NDArray[np.floating] | None]
"""The metric of a job, by job id and metric's name, in every resample of its test images; None where there are none."""
SAME_IMAGES = ["category", "seed", "fold"]


@dataclass(frozen=True)
class Difference:
    """Method a minus method b, on the jobs that both have finished.

    Attributes:
        a: Value of a: mean over categories of means over folds and seeds.
        b: Value of b.
        value: a - b.
        interval: 95 % interval of the difference.
        p: Two-sided p-value of the paired bootstrap.
        n_categories: How many categories both have.
    """

    a: float
    b: float
    value: float
    interval: Interval
    p: float
    n_categories: int


def mean_interval(jobs: pd.DataFrame, metric: str, resamples: Resamples) -> Interval:
    """Interval of the mean over categories of the means over folds and seeds, for finished jobs of one method.

    The distances of each category's own limits add up in quadrature, each side for itself (Zou and Donner 2008), so
    that a category without any mistake widens the interval downwards only.
    """
    known = jobs[jobs[metric].notna()]
    values, limits = [], []
    for _, group in known.groupby("category"):
        value = float(group[metric].mean())
        drawn = _mean_resamples(group, metric, resamples)
        seeds = group["seed"].nunique()
        anomalous, normal = ((group[a] + group[b]).sum() / seeds for a, b in (("tp", "fn"), ("fp", "tn")))
        spread = math.nan if drawn is None else statistics.standard_error(value, drawn, anomalous, normal)
        values.append(value)
        limits.append(statistics.interval(value, spread))
    if not values:
        return Interval(math.nan, math.nan)
    mean, k = float(np.mean(values)), len(values)
    down = math.hypot(*(value - limit.low for value, limit in zip(values, limits, strict=True))) / k
    up = math.hypot(*(limit.high - value for value, limit in zip(values, limits, strict=True))) / k
    return Interval(mean - down, mean + up)


def difference(a: pd.DataFrame, b: pd.DataFrame, metric: str, resamples: Resamples) -> Difference:
    """Compare two methods on the same images.

    Args:
        a: Finished jobs of the one method on one dataset under one protocol.
        b: Those of the other.
        metric: A column of theirs.
        resamples: Where to find the metric's resamples.
    """
    both = a[a[metric].notna()].merge(b[b[metric].notna()], on=SAME_IMAGES, suffixes=("_a", "_b"))
    values, drawn = [], []
    for _, group in both.groupby("category"):
        values.append((group[f"{metric}_a"].mean(), group[f"{metric}_b"].mean()))
        sides = [_mean_resamples(group.rename(columns={f"job_{s}": "job"}), metric, resamples) for s in "ab"]
        drawn.append(None if sides[0] is None or sides[1] is None else sides[0] - sides[1])
    if not values:
        nan = math.nan
        return Difference(nan, nan, nan, Interval(nan, nan), nan, 0)
    mean_a, mean_b = (float(mean) for mean in np.mean(values, axis=0))
    value = mean_a - mean_b
    error = math.hypot(*(math.nan if d is None else float(np.nanstd(d, ddof=1)) for d in drawn)) / len(drawn)
    reach = statistics.Z * error
    interval = Interval(*(float(limit) for limit in np.clip([value - reach, value + reach], -1, 1)))  # NaN stays NaN
    return Difference(mean_a, mean_b, value, interval, statistics.p_value(value, error), len(values))


def by_category(a: pd.DataFrame, b: pd.DataFrame, metric: str, resamples: Resamples) -> dict[str, Difference]:
    """`difference` for each category that both methods have, p-values adjusted by Holm."""
    names = sorted(set(a["category"]) & set(b["category"]))
    found = {n: difference(a[a["category"] == n], b[b["category"] == n], metric, resamples) for n in names}
    found = {name: d for name, d in found.items() if d.n_categories}
    adjusted = statistics.holm([d.p for d in found.values()])
    return {
        name: Difference(d.a, d.b, d.value, d.interval, p, 1)
        for (name, d), p in zip(found.items(), adjusted, strict=True)
    }


def tied_with_best(groups: dict[str, pd.DataFrame], metric: str, resamples: Resamples) -> dict[str, bool | None]:
    """Which methods cannot be told from the best one, at 5 % after Holm's adjustment; None where nothing is known.

    Args:
        groups: Finished jobs by method, of one dataset and protocol.
        metric: What is compared; the best is the one with the highest mean among those with most categories.
        resamples: Where to find the metric's resamples.
    """
    known = {name: jobs for name, jobs in groups.items() if jobs[metric].notna().any()}
    if not known:
        return dict.fromkeys(groups)
    best = max(sorted(known), key=lambda name: _standing(known[name], metric))
    others = [name for name in sorted(known) if name != best]
    raw = [difference(known[best], known[name], metric, resamples).p for name in others]
    adjusted = dict(zip(others, statistics.holm(raw), strict=True))
    ties = {name: None if math.isnan(p) else p >= 1 - statistics.LEVEL for name, p in adjusted.items()}
    return {name: True if name == best else ties.get(name) for name in groups}


def ranking(groups: dict[str, pd.DataFrame], metric: str) -> Ranking:
    """Mean ranks over the categories that all methods have finished."""
    means = {name: jobs[jobs[metric].notna()].groupby("category")[metric].mean() for name, jobs in groups.items()}
    shared = sorted(set.intersection(*(set(series.index) for series in means.values())))
    return statistics.rank({name: [float(series[c]) for c in shared] for name, series in means.items()})


def _standing(jobs: pd.DataFrame, metric: str) -> tuple[int, float]:
    known = jobs[jobs[metric].notna()]
    return known["category"].nunique(), float(known.groupby("category")[metric].mean().mean())


def _mean_resamples(jobs: pd.DataFrame, metric: str, resamples: Resamples) -> NDArray[np.float64] | None:
    """Mean over jobs of a metric in every resample, over those jobs that can be measured in it; None if unknown."""
    drawn: Sequence[NDArray[np.floating] | None] = [resamples(job, metric) for job in jobs["job"]]
    if any(values is None for values in drawn):
        return None
    table = np.array(drawn, np.float64)
    known = np.isfinite(table)
    sums: NDArray[np.float64] = np.where(known, table, 0).sum(0)
    mean: NDArray[np.float64] = np.divide(sums, known.sum(0), where=known.any(0), out=np.full(table.shape[1], np.nan))
    return mean
