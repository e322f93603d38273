"""Several methods on the same images: their means, and the error of any difference between them.

Within a category the metric of each resample is averaged over folds and seeds; an image that several jobs test has the
same weight in all. Categories share no image, so the variances of their means add up.

With several seeds, how much a method changes from training to training counts as well: the variance of the values over
the seeds, less what the test images explain of it (the mean over the resamples of their variance over the seeds), so
that nothing is counted twice. The error then has few degrees of freedom (Satterthwaite 1946) and intervals use
Student's t. False "better" between two equally good methods whose training varies by .025 of ROC AUC, 200 test images,
600 trials, without / with this part: 2 seeds 14 / 8 %, 3 seeds 12 / 6 %, 5 seeds 10 / 6 %. With one seed the training
stays unknown, and it is 20 %.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.evaluate import uncertainty
from anomalybench.evaluate.uncertainty import EXACT, MEAN_WEIGHTS

Resamples = Callable[[str, str], NDArray[np.floating] | None]
"""A job's metric, or one of `MEAN_WEIGHTS`, in every resample of its test images; None where there are none."""
Floats = NDArray[np.float64]


class Place(NamedTuple):
    """The images of a category; those of another fingerprint are another place."""

    category: str
    fingerprint: str


class Row(NamedTuple):
    """A finished job: the metric's value, its test images by outcome, and its test objects of each class."""

    job: str
    seed: int
    fold: str
    value: float
    tp: float
    fn: float
    fp: float
    tn: float
    anomalous: float
    normal: float


Rows = tuple[Row, ...]


class Objects(NamedTuple):
    """How many distinct objects of each class were tested."""

    anomalous: float
    normal: float


class Spread(NamedTuple):
    """A standard error and its degrees of freedom; infinite where only test images are drawn."""

    error: float
    freedom: float

    @property
    def reach(self) -> float:
        """Half the width of a 95 % interval."""
        return float(self.error * uncertainty.quantile(self.freedom))


def by_place(jobs: pd.DataFrame, metric: str) -> dict[Place, Rows]:
    """Jobs that have the metric; plain tuples, since pairs of methods are as many as their square."""
    known = jobs[jobs[metric].notna()]
    columns = (known[name].tolist() for name in ("category", "job", "seed", "fold", metric, "tp", "fn", "fp", "tn"))
    sizes = (_column(known, "n_test_anomalous", known["tp"] + known["fn"]),
             _column(known, "n_test_normal", known["tn"] + known["fp"]))  # fmt: skip
    found = defaultdict(list)
    for fingerprint, category, *one in zip(_column(known, "fingerprint", ""), *columns, *sizes, strict=True):
        found[Place(category, fingerprint)].append(Row(*one))
    return {place: tuple(found[place]) for place in sorted(found)}


def objects(rows: Rows, resamples: Resamples) -> Objects:
    """To how many objects of each class the tests of these jobs of one place amount, each object counted once."""
    return Objects(*(uncertainty.objects(shared(rows, kind, resamples)) for kind in ("anomalous", "normal")))


def shared(rows: Rows, kind: str, resamples: Resamples) -> Floats:
    """Covariances between jobs of `MEAN_WEIGHTS`, from the objects that they share.

    Where resamples are not known, folds are taken to share no image, and seeds to share all.
    """
    each = np.sqrt(1 / np.maximum([getattr(row, kind) for row in rows], EXACT))
    drawn = [resamples(row.job, MEAN_WEIGHTS[kind]) for row in rows] if len(rows) > 1 else [None]
    known = [values for values in drawn if values is not None]
    if len(known) == len(rows):
        alike = np.corrcoef(np.array(known, np.float64))
    else:
        alike = np.array([[float(a.fold == b.fold) for a in rows] for b in rows])
    return np.asarray(alike * np.outer(each, each))


def mean(rows: Rows) -> float:
    """Mean over folds and seeds."""
    return math.fsum(row.value for row in rows) / len(rows)


@dataclass(frozen=True)
class Joint:
    """k methods in the p places that all have finished, on the folds and seeds that all have there.

    Attributes:
        values: p x k, means over folds and seeds.
        images: p x k x k, covariances of these over the resamples.
        trained: p x k x k, covariances of the mean over the seeds as the values of the seeds show them; 0 for one seed.
        explained: p x k x k, what the test images explain of `trained`.
        n_seeds: p, numbers of seeds.
        alone: p x k, standard errors of each method by itself: Wilson's where it makes no mistake.
    """

    values: Floats
    images: Floats
    trained: Floats
    explained: Floats
    n_seeds: NDArray[np.int_]
    alone: Floats

    @property
    def mean(self) -> Floats:
        """Of each method, the mean over the places."""
        return np.asarray(self.values.mean(0))

    @property
    def covariance(self) -> Floats:
        """Of the means: from the images, and of each method from its training."""
        training = np.diagonal(self.trained - self.explained, axis1=1, axis2=2).sum(0)
        return np.asarray((self.images.sum(0) + np.diag(np.maximum(training, 0))) / len(self.values) ** 2)

    def spread(self, contrast: Sequence[float] | Floats, *, training: bool = True) -> Spread:
        """Error of a sum of the means, each taken as often as `contrast` says."""
        c = np.asarray(contrast, float)
        images, trained, explained = (np.einsum("i,pij,j->p", c, part, c)
                                      for part in (self.images, self.trained, self.explained))  # fmt: skip
        # No resample changes the difference between a perfect and a blind method.
        still = (images < EXACT**2) & (np.abs(self.values @ c) > EXACT)
        images = np.where(still, self.alone**2 @ c**2, images)
        if not training:
            return Spread(math.sqrt(images.sum()) / len(images), math.inf)
        total = images.sum() + max(0.0, (trained - explained).sum())
        doubt = (trained**2 / np.maximum(self.n_seeds - 1, 1)).sum()
        return Spread(math.sqrt(total) / len(images), total**2 / doubt if doubt > 0 else math.inf)

    def difference(self, a: int, b: int) -> tuple[float, Spread]:
        """Mean of method a minus that of method b, and its error."""
        contrast = np.zeros(self.values.shape[1])
        contrast[a], contrast[b] = 1, -1
        return float(self.mean[a] - self.mean[b]), self.spread(contrast if a != b else 0 * contrast)


def join(methods: Sequence[dict[Place, Rows]], metric: str, resamples: Resamples) -> Joint | None:
    """What several methods have in common; None if that is nothing.

    Args:
        methods: From `by_place`.
        metric: The metric of their values.
        resamples: Where to find its resamples.
    """
    found = []
    for place in sorted(set.intersection(*(set(rows) for rows in methods))):
        sides = [{(row.seed, row.fold): row for row in rows[place]} for rows in methods]
        common = sorted(set.intersection(*(set(side) for side in sides)))
        if common:
            found.append(_join([tuple(side[key] for key in common) for side in sides], metric, resamples))
    names = [field.name for field in fields(Joint)]
    return Joint(**{name: np.concatenate([getattr(one, name) for one in found]) for name in names}) if found else None


def _join(sides: Sequence[Rows], metric: str, resamples: Resamples) -> Joint:
    """One place."""
    seeds = sorted({row.seed for row in sides[0]})
    parts = [[tuple(row for row in rows if row.seed == seed) for seed in seeds] for rows in sides]
    values = np.array([mean(rows) for rows in sides])
    drawn = _stacked([[_drawn(rows, metric, resamples) for rows in own] for own in parts])
    whole = drawn[:, 0] if len(seeds) == 1 else _stacked([[_drawn(rows, metric, resamples) for rows in sides]])[0]
    alone = np.array([_error(*one, resamples) for one in zip(sides, values, whole, strict=True)])
    images = _covariance(whole) + 0 * np.add.outer(alone, alone)  # NaN where a class has one object
    trained = explained = np.zeros_like(images)
    if len(seeds) > 1:
        trained = np.atleast_2d(np.cov([[mean(rows) for rows in own] for own in parts])) / len(seeds)
        away = drawn[:, :, np.isfinite(drawn).all((0, 1))]
        explained = _explained(away) if away.size else np.full_like(images, math.nan)
    n_seeds = np.array([len(seeds)])
    return Joint(values[None], images[None], trained[None], explained[None], n_seeds, alone[None])


def _explained(drawn: Floats) -> Floats:
    """Covariance of the methods' means over seeds that the images explain, from k x seeds x resamples."""
    away = drawn - drawn.mean(2, keepdims=True)
    away -= away.mean(1, keepdims=True)
    _, n_seeds, n = drawn.shape
    return np.asarray(np.einsum("isb,jsb->ij", away, away) / (n * n_seeds * (n_seeds - 1)))


def _stacked(drawn: Sequence[Sequence[Floats]]) -> Floats:
    """One array; what is not known has the length of what is."""
    flat = np.broadcast_arrays(*(values for own in drawn for values in own))
    return np.array(flat).reshape(len(drawn), len(drawn[0]), -1)


def _covariance(drawn: Floats) -> Floats:
    """Of the rows, each pair over the resamples that both have; NaN where that is fewer than two."""
    finite = np.isfinite(drawn)
    if finite.all(0).sum() > 1:
        return np.atleast_2d(np.cov(drawn[:, finite.all(0)]))
    found = np.full((len(drawn), len(drawn)), math.nan)
    for i, j in np.ndindex(found.shape):
        if (both := finite[i] & finite[j]).sum() > 1:
            found[i, j] = np.cov(drawn[i, both], drawn[j, both])[0, 1]
    return found


def _error(rows: Rows, value: float, drawn: Floats, resamples: Resamples) -> float:
    """Standard error of one method in one place; shared objects matter for a perfect result alone."""
    if min(value, 1 - value) < EXACT:
        return uncertainty.standard_error(value, drawn, *objects(rows, resamples))
    return uncertainty.standard_error(value, drawn, *(sum(getattr(row, kind) for row in rows) for kind in MEAN_WEIGHTS))


def _drawn(rows: Rows, metric: str, resamples: Resamples) -> Floats:
    """Mean over jobs of a metric in every resample, over those that can be measured in it; NaN where unknown."""
    drawn = [resamples(row.job, metric) for row in rows]
    table = np.array([values for values in drawn if values is not None])
    if len(table) < len(drawn):
        return np.full(1, math.nan)
    found: Floats = table.mean(0, dtype=np.float64)
    holes = ~np.isfinite(found)
    some = np.isfinite(table[:, holes])
    sums = np.where(some, table[:, holes], 0).sum(0, dtype=np.float64)
    found[holes] = np.divide(sums, some.sum(0), where=some.any(0), out=np.full(sums.size, np.nan))
    return found


def _column(jobs: pd.DataFrame, name: str, otherwise: object) -> list[object]:
    """A column of the table of jobs; `otherwise` where it is absent or empty."""
    column = jobs[name] if name in jobs else pd.Series(None, jobs.index, object)
    return list(column.where(column.notna(), otherwise))
