"""How sure the tables are: means with intervals, differences between methods on the same images, and who is ranked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from anomalybench.evaluate import paired_tests, uncertainty
from anomalybench.evaluate.paired_tests import Ranking
from anomalybench.evaluate.uncertainty import LEVEL, Interval
from anomalybench.report import joint
from anomalybench.report.joint import Objects, Place, Resamples, Rows

MINIMUM = 5
"""Fewest defective and normal test objects of a category, in all folds together, on which methods are ranked.

With fewer, chance alone does too well: a method that knows nothing reaches a ROC AUC of 1 on 1 defective and 5 normal
images in 17 % of trials, on 3 and 5 in 1.8 %, on 5 and 5 in 0.4 %.
"""


NO_DEFECTS = "no defective test image: nothing to rank by"


@dataclass(frozen=True)
class Difference:
    """Method a minus method b, on the jobs that both have finished.

    Attributes:
        a: Value of a: mean over categories of means over folds and seeds.
        b: Value of b.
        value: a - b.
        interval: 95 % interval of the difference.
        p: Two-sided p-value of the paired test.
        n_categories: How many categories both have.
    """

    a: float
    b: float
    value: float
    interval: Interval
    p: float
    n_categories: int


_NOTHING = Difference(math.nan, math.nan, math.nan, Interval(math.nan, math.nan), math.nan, 0)


def mean_interval(jobs: pd.DataFrame, metric: str, resamples: Resamples) -> Interval:
    """Interval of the mean over categories of the means over folds and seeds, for finished jobs of one method.

    The distances of each category's own limits add up in quadrature, each side for itself (Zou and Donner 2008), so
    that a category without any mistake widens the interval downwards only. With several seeds both sides grow as the
    standard error does by the method's training.
    """
    places = joint.by_place(jobs, metric)
    if not places:
        return Interval(math.nan, math.nan)
    limits = [_limits(rows, metric, resamples) for rows in places.values()]
    mean, wider = math.fsum(map(joint.mean, places.values())) / len(places), _training(places, metric, resamples)
    pairs = list(zip(places.values(), limits, strict=True))
    down = math.hypot(*(joint.mean(rows) - limit.low for rows, limit in pairs)) / len(places)
    up = math.hypot(*(limit.high - joint.mean(rows) for rows, limit in pairs)) / len(places)
    low, high = np.clip([mean - wider * down, mean + wider * up], 0, 1)  # NaN stays NaN
    return Interval(float(low), float(high))


def difference(a: pd.DataFrame, b: pd.DataFrame, metric: str, resamples: Resamples) -> Difference:
    """Compare two methods on the same images.

    Args:
        a: Finished jobs of the one method on one dataset under one protocol.
        b: Those of the other.
        metric: A column of theirs.
        resamples: Where to find the metric's resamples.
    """
    return _difference(joint.by_place(a, metric), joint.by_place(b, metric), metric, resamples)


def by_category(a: pd.DataFrame, b: pd.DataFrame, metric: str, resamples: Resamples) -> dict[str, Difference]:
    """`difference` for each category that both methods have, p-values adjusted by Holm."""
    one, other = joint.by_place(a, metric), joint.by_place(b, metric)
    found = {
        place: _difference({place: one[place]}, {place: other[place]}, metric, resamples)
        for place in sorted(one.keys() & other.keys())
    }
    found = {place: d for place, d in found.items() if d.n_categories}
    adjusted = paired_tests.holm([d.p for d in found.values()])
    names = labels(found)
    return {names[place]: replace(d, p=p) for (place, d), p in zip(found.items(), adjusted, strict=True)}


def labels(places: Mapping[Place, object]) -> dict[Place, str]:
    """Names of places: the category, and the beginning of the fingerprint where categories of one name differ in it."""
    names = [place.category for place in places]
    return {p: p.category if names.count(p.category) == 1 else f"{p.category} ({p.fingerprint[:8]})" for p in places}


def unranked(groups: Mapping[str, pd.DataFrame], metric: str, resamples: Resamples) -> dict[str, str]:
    """Why methods are not ranked, in words; those that are ranked are left out.

    Ranked is what has the metric in every category in which some method has it, with at least `MINIMUM` test objects of
    each class: a mean over the easy categories alone would rank first.

    Args:
        groups: Finished jobs by method, of one dataset and protocol.
        metric: What they are ranked by.
        resamples: Where to find its resamples.
    """
    done = {name: joint.by_place(jobs, metric) for name, jobs in groups.items()}
    every = set().union(*done.values())
    found = {}
    for name, rows in done.items():
        few = _too_few(rows, resamples)
        if not rows:
            found[name] = NO_DEFECTS if only_good(groups[name]) else f"no {metric}"
        elif len(rows) < len(every):
            found[name] = f"only {len(rows)} of {len(every)} categories"
        elif few is not None:
            found[name] = few
    return found


def only_good(jobs: pd.DataFrame) -> bool:
    """Whether there are finished jobs, and none of them has a defective test image."""
    return len(jobs) > 0 and bool((jobs["tp"] + jobs["fn"] == 0).all())


def too_few(jobs: pd.DataFrame, metric: str, resamples: Resamples) -> str | None:
    """Which class has too few test images for a verdict, in words; None where there are enough, or nobody knows."""
    return _too_few(joint.by_place(jobs, metric), resamples)


def tied_with_best(groups: Mapping[str, pd.DataFrame], metric: str, resamples: Resamples) -> dict[str, bool | None]:
    """Which methods may be the best one, at 5 %; None where nothing is known or the method is not ranked.

    Args:
        groups: Finished jobs by method, of one dataset and protocol.
        metric: What is compared, on the folds and seeds that all ranked methods have.
        resamples: Where to find the metric's resamples.
    """
    ties: dict[str, bool | None] = dict.fromkeys(groups)
    left_out = unranked(groups, metric, resamples)
    names = sorted(name for name in groups if name not in left_out)
    done = [joint.by_place(groups[name], metric) for name in names]
    found = joint.join(done, metric, resamples) if done else None
    if found is None or len(found.values) < len(done[0]):
        return ties
    best = int(found.mean.argmax())
    known = [i for i, error in enumerate(np.diag(found.covariance)) if np.isfinite(error)]
    if best in known:
        part = joint.join([done[i] for i in known], metric, resamples)
        assert part is not None  # the places of all are those of some
        standing = lambda c: paired_tests.in_normal_units(float(part.mean @ c), *part.spread(c))  # noqa: E731
        tied = paired_tests.tied_with_best(part.mean, part.covariance, standing)
        for place, (i, yes) in enumerate(zip(known, tied, strict=True)):
            ties[names[i]] = None if math.isnan(_p(part, known.index(best), place)) else bool(yes)
    ties[names[best]] = True
    return ties


def above(jobs: pd.DataFrame, floors: Sequence[pd.DataFrame], metric: str, resamples: Resamples) -> bool | None:
    """Whether a method is shown to be better than each floor; None where nothing is known.

    By a paired one-sided test at 5 % against each, on the same images. All have to reject, so that no adjustment is
    needed.

    Args:
        jobs: Finished jobs of the method.
        floors: Those of each floor; compared on the categories that it shares with the method.
        metric: A column of theirs.
        resamples: Where to find the metric's resamples.
    """
    own = joint.by_place(jobs, metric)
    if _too_few(own, resamples) is not None:
        return None
    found = [_difference(own, joint.by_place(floor, metric), metric, resamples) for floor in floors]
    shown = [d.value > 0 and d.p / 2 < 1 - LEVEL for d in found if not math.isnan(d.p)]
    return all(shown) if shown else None


def ranking(groups: Mapping[str, pd.DataFrame], metric: str) -> Ranking:
    """Mean ranks over the categories, of the methods that have the metric in all in which some has it.

    Where none has it in all, the categories that all share count.
    """
    done = {name: joint.by_place(jobs, metric) for name, jobs in groups.items()}
    every = set().union(*done.values())
    whole = {name: rows for name, rows in done.items() if len(rows) == len(every)} or done
    shared = sorted(set.intersection(*(set(rows) for rows in whole.values())))
    return paired_tests.rank({name: [joint.mean(rows[p]) for p in shared] for name, rows in whole.items()})


def _difference(a: Mapping[Place, Rows], b: Mapping[Place, Rows], metric: str, resamples: Resamples) -> Difference:
    found = joint.join([dict(a), dict(b)], metric, resamples)
    if found is None:
        return _NOTHING
    mean_a, mean_b = map(float, found.mean)
    value, spread = found.difference(0, 1)
    limits = np.clip([value - spread.reach, value + spread.reach], -1, 1)  # NaN stays NaN
    interval = Interval(*map(float, limits))
    return Difference(mean_a, mean_b, value, interval, _p(found, 0, 1), len(found.values))


def _p(found: joint.Joint, a: int, b: int) -> float:
    value, spread = found.difference(a, b)
    return paired_tests.p_value(value, *spread)


def _limits(rows: Rows, metric: str, resamples: Resamples) -> Interval:
    """Interval of one method in one place, from the test images alone."""
    if metric == "balanced_accuracy":
        recall = np.array([row.tp / (row.tp + row.fn) for row in rows])
        specificity = np.array([row.tn / (row.tn + row.fp) for row in rows])
        return uncertainty.mean_of_shares(
            (recall, joint.shared(rows, "anomalous", resamples)), (specificity, joint.shared(rows, "normal", resamples))
        )
    found = joint.join([{Place("", ""): rows}], metric, resamples)
    return uncertainty.interval(joint.mean(rows), math.nan if found is None else float(found.alone[0, 0]))


def _training(places: dict[Place, Rows], metric: str, resamples: Resamples) -> float:
    """How much wider training makes an interval of several seeds; 1 where nothing is known of it."""
    if all(len({row.seed for row in rows}) == 1 for rows in places.values()):
        return 1.0
    found = joint.join([places], metric, resamples)
    if found is None:
        return 1.0
    images, whole = (found.spread([1.0], training=training) for training in (False, True))
    return float(whole.reach / images.reach) if images.reach > uncertainty.EXACT else 1.0


def _too_few(places: Mapping[Place, Rows], resamples: Resamples) -> str | None:
    for place, rows in places.items():
        for kind, n in tested(rows, resamples)._asdict().items():
            if n < MINIMUM - 0.5:  # shared objects are not counted exactly; NaN is nothing to go by
                word = {"anomalous": "defective", "normal": "normal"}[kind]
                where = f" in {place.category}" if len(places) > 1 else ""
                return f"only {round(n)} {word} test image{'s' * (round(n) != 1)}{where}: says nothing"
    return None


def tested(rows: Rows, resamples: Resamples) -> Objects:
    """Test objects of each class in all folds together, each counted once; mean over seeds."""
    seeds = sorted({row.seed for row in rows})
    found = [joint.objects(tuple(row for row in rows if row.seed == seed), resamples) for seed in seeds]
    return Objects(*(math.fsum(kind) / len(seeds) for kind in zip(*found, strict=True)))
