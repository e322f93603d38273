"""How sure the tables are: means with intervals, and differences between methods on the same images.

Within a category, the metric of each resample is averaged over folds and seeds; an image that several of them test has
the same weight in all. Categories share no image, so the variances of their means add up.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    found = [_category(group, metric, resamples) for _, group in known.groupby("category")]
    if not found:
        return Interval(math.nan, math.nan)
    mean = float(np.mean([one.value for one in found]))
    down = math.hypot(*(one.value - one.interval.low for one in found)) / len(found)
    up = math.hypot(*(one.interval.high - one.value for one in found)) / len(found)
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
    found = []
    for _, group in both.groupby("category"):
        sides = (group.rename(columns={f"{name}{end}": name for name in a.columns}) for end in ("_a", "_b"))
        found.append([_category(side, metric, resamples) for side in sides])
    if not found:
        nan = math.nan
        return Difference(nan, nan, nan, Interval(nan, nan), nan, 0)
    mean_a, mean_b = (float(np.mean([side.value for side in one])) for one in zip(*found, strict=True))
    value = mean_a - mean_b
    error = math.hypot(*(_paired_error(*sides) for sides in found)) / len(found)
    reach = statistics.Z * error
    interval = Interval(*(float(limit) for limit in np.clip([value - reach, value + reach], -1, 1)))  # NaN stays NaN
    return Difference(mean_a, mean_b, value, interval, statistics.p_value(value, error), len(found))


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
    """Which methods cannot be told from the best one, at 5 %; None where nothing is known.

    Holm's adjustment is over all pairs, as the best is picked by the very numbers that are compared: over the best's
    pairs alone, one of ten equally good methods would be set apart in 11 % of benchmarks.

    Args:
        groups: Finished jobs by method, of one dataset and protocol.
        metric: What is compared; the best is the one with the highest mean among those with most categories.
        resamples: Where to find the metric's resamples.
    """
    known = {name: jobs for name, jobs in groups.items() if jobs[metric].notna().any()}
    if not known:
        return dict.fromkeys(groups)
    best = max(sorted(known), key=lambda name: _standing(known[name], metric))
    pairs = list(itertools.combinations(sorted(known), 2))
    adjusted = statistics.holm([difference(known[a], known[b], metric, resamples).p for a, b in pairs])
    ties = {
        pair[pair[0] == best]: None if math.isnan(p) else p >= 1 - statistics.LEVEL
        for pair, p in zip(pairs, adjusted, strict=True)
        if best in pair
    }
    return {name: True if name == best else ties.get(name) for name in groups}


def below(jobs: pd.DataFrame, floors: Sequence[pd.DataFrame], metric: str, resamples: Resamples) -> bool | None:
    """Whether a method's interval fails to lie above one of the floors; None where nothing is known.

    Args:
        jobs: Finished jobs of the method.
        floors: Those of each floor; compared on the categories that it shares with the method.
        metric: A column of theirs.
        resamples: Where to find the metric's resamples.
    """
    failed = []
    for floor in floors:
        known = floor[floor[metric].notna() & floor["category"].isin(jobs.loc[jobs[metric].notna(), "category"])]
        low = mean_interval(jobs[jobs["category"].isin(known["category"])], metric, resamples).low
        if not math.isnan(low):
            failed.append(low <= known.groupby("category")[metric].mean().mean())
    return any(failed) if failed else None


def ranking(groups: dict[str, pd.DataFrame], metric: str) -> Ranking:
    """Mean ranks over the categories that all methods have finished."""
    means = {name: jobs[jobs[metric].notna()].groupby("category")[metric].mean() for name, jobs in groups.items()}
    shared = sorted(set.intersection(*(set(series.index) for series in means.values())))
    return statistics.rank({name: [float(series[c]) for c in shared] for name, series in means.items()})


def _standing(jobs: pd.DataFrame, metric: str) -> tuple[int, float]:
    known = jobs[jobs[metric].notna()]
    return known["category"].nunique(), float(known.groupby("category")[metric].mean().mean())


class _Category(NamedTuple):
    """One method in one category: mean over folds and seeds, its resamples if they are known, error and interval."""

    value: float
    drawn: NDArray[np.float64] | None
    error: float
    interval: Interval


def _category(jobs: pd.DataFrame, metric: str, resamples: Resamples) -> _Category:
    value, drawn = float(jobs[metric].mean()), _mean_resamples(jobs, metric, resamples)
    if drawn is None:
        return _Category(value, None, math.nan, Interval(math.nan, math.nan))
    tp, fn, fp, tn = (float(jobs[name].sum()) / jobs["seed"].nunique() for name in ("tp", "fn", "fp", "tn"))
    error = statistics.standard_error(value, drawn, tp + fn, fp + tn)
    interval = statistics.interval(value, error)
    if metric == "balanced_accuracy":
        interval = statistics.balanced_accuracy_interval(tp, fn, fp, tn)
    return _Category(value, drawn, error, interval)


def _paired_error(a: _Category, b: _Category) -> float:
    """Standard error of a - b; unpaired where no resample changes it, as between a perfect and a blind method."""
    if a.drawn is None or b.drawn is None:
        return math.nan
    spread = float(np.nanstd(a.drawn - b.drawn, ddof=1))
    return math.hypot(a.error, b.error) if spread < statistics.EXACT < abs(a.value - b.value) else spread


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
