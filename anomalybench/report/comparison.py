"""How sure the tables are: means with intervals, and differences between methods on the same images.

Within a category, the metric of each resample is averaged over folds and seeds; an image that several of them test has
the same weight in all. Categories share no image, so the variances of their means add up.
"""

import functools
import itertools
import math
from collections import defaultdict
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
    return _mean_interval([_limits(one, metric, resamples) for one in _by_category(jobs, metric).values()])


def difference(a: pd.DataFrame, b: pd.DataFrame, metric: str, resamples: Resamples) -> Difference:
    """Compare two methods on the same images.

    Args:
        a: Finished jobs of the one method on one dataset under one protocol.
        b: Those of the other.
        metric: A column of theirs.
        resamples: Where to find the metric's resamples.
    """
    return _difference(_by_category(a, metric), _by_category(b, metric), lambda one: _category(one, metric, resamples))


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
    done = {name: _by_category(jobs, metric) for name, jobs in known.items()}
    measured = functools.cache(lambda one: _category(one, metric, resamples))
    adjusted = statistics.holm([_difference(done[a], done[b], measured).p for a, b in pairs])
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
    done = {category: _limits(one, metric, resamples) for category, one in _by_category(jobs, metric).items()}
    for floor in floors:
        known = {category: one for category, one in _by_category(floor, metric).items() if category in done}
        low = _mean_interval([done[category] for category in known]).low
        if not math.isnan(low):
            failed.append(low <= np.mean([_value(one) for one in known.values()]))
    return any(failed) if failed else None


def ranking(groups: dict[str, pd.DataFrame], metric: str) -> Ranking:
    """Mean ranks over the categories that all methods have finished."""
    means = {name: jobs[jobs[metric].notna()].groupby("category")[metric].mean() for name, jobs in groups.items()}
    shared = sorted(set.intersection(*(set(series.index) for series in means.values())))
    return statistics.rank({name: [float(series[c]) for c in shared] for name, series in means.items()})


def _standing(jobs: pd.DataFrame, metric: str) -> tuple[int, float]:
    known = jobs[jobs[metric].notna()]
    return known["category"].nunique(), float(known.groupby("category")[metric].mean().mean())


class _Job(NamedTuple):
    """A finished job: its id, the metric's value and its test images by outcome."""

    job: str
    seed: int
    fold: str
    value: float
    tp: float
    fn: float
    fp: float
    tn: float


_Jobs = tuple[_Job, ...]


class _Category(NamedTuple):
    """One method in one category: mean over folds and seeds, and its resamples if they are known."""

    jobs: _Jobs
    value: float
    drawn: NDArray[np.float64] | None


def _by_category(jobs: pd.DataFrame, metric: str) -> dict[str, _Jobs]:
    """Jobs that have the metric; plain tuples, since pairs of methods are as many as their square."""
    known = jobs[jobs[metric].notna()]
    columns = (known[name].tolist() for name in ("category", "job", "seed", "fold", metric, "tp", "fn", "fp", "tn"))
    found = defaultdict(list)
    for category, *one in zip(*columns, strict=True):
        found[category].append(_Job(*one))
    return {category: tuple(found[category]) for category in sorted(found)}


def _difference(a: dict[str, _Jobs], b: dict[str, _Jobs], measured: Callable[[_Jobs], _Category]) -> Difference:
    found = []
    for category in sorted(a.keys() & b.keys()):
        others = {(one.seed, one.fold): one for one in b[category]}
        both = [(one, others[one.seed, one.fold]) for one in a[category] if (one.seed, one.fold) in others]
        if both:
            found.append([measured(side) for side in zip(*both, strict=True)])
    if not found:
        nan = math.nan
        return Difference(nan, nan, nan, Interval(nan, nan), nan, 0)
    mean_a, mean_b = (float(np.mean([side.value for side in one])) for one in zip(*found, strict=True))
    value = mean_a - mean_b
    error = math.hypot(*(_paired_error(*sides) for sides in found)) / len(found)
    reach = statistics.Z * error
    interval = Interval(*(float(limit) for limit in np.clip([value - reach, value + reach], -1, 1)))  # NaN stays NaN
    return Difference(mean_a, mean_b, value, interval, statistics.p_value(value, error), len(found))


def _mean_interval(found: Sequence[tuple[float, Interval]]) -> Interval:
    """Interval of the mean of categories' values, from theirs."""
    if not found:
        return Interval(math.nan, math.nan)
    mean = float(np.mean([value for value, _ in found]))
    down = math.hypot(*(value - limit.low for value, limit in found)) / len(found)
    up = math.hypot(*(limit.high - value for value, limit in found)) / len(found)
    return Interval(mean - down, mean + up)


def _value(jobs: _Jobs) -> float:
    return math.fsum(one.value for one in jobs) / len(jobs)


def _limits(jobs: _Jobs, metric: str, resamples: Resamples) -> tuple[float, Interval]:
    """Value and interval of one method in one category."""
    if metric == "balanced_accuracy":
        return _value(jobs), statistics.balanced_accuracy_interval(*_counts(jobs))
    one = _category(jobs, metric, resamples)
    return one.value, statistics.interval(one.value, _error(one))


def _counts(jobs: _Jobs) -> list[float]:
    """Images of each kind, as `tp, fn, fp, tn`: folds add up, seeds are averaged."""
    n_seeds = len({one.seed for one in jobs})
    return [sum(kind) / n_seeds for kind in zip(*((one.tp, one.fn, one.fp, one.tn) for one in jobs), strict=True)]


def _category(jobs: _Jobs, metric: str, resamples: Resamples) -> _Category:
    return _Category(jobs, _value(jobs), _mean_resamples(jobs, metric, resamples))


def _error(one: _Category) -> float:
    if one.drawn is None:
        return math.nan
    tp, fn, fp, tn = _counts(one.jobs)
    return statistics.standard_error(one.value, one.drawn, tp + fn, fp + tn)


def _paired_error(a: _Category, b: _Category) -> float:
    """Standard error of a - b; unpaired where no resample changes it, as between a perfect and a blind method."""
    if a.drawn is None or b.drawn is None:
        return math.nan
    spread = float(np.nanstd(a.drawn - b.drawn, ddof=1))
    return math.hypot(_error(a), _error(b)) if spread < statistics.EXACT < abs(a.value - b.value) else spread


def _mean_resamples(jobs: _Jobs, metric: str, resamples: Resamples) -> NDArray[np.float64] | None:
    """Mean over jobs of a metric in every resample, over those jobs that can be measured in it; None if unknown."""
    drawn = [resamples(one.job, metric) for one in jobs]
    table = np.array([values for values in drawn if values is not None])
    if len(table) < len(drawn):
        return None
    mean: NDArray[np.float64] = table.mean(0, dtype=np.float64)
    holes = ~np.isfinite(mean)
    some = np.isfinite(table[:, holes])
    sums = np.where(some, table[:, holes], 0).sum(0, dtype=np.float64)
    mean[holes] = np.divide(sums, some.sum(0), where=some.any(0), out=np.full(sums.size, np.nan))
    return mean
