"""Threshold rules, fitted on calibration scores alone. An image is anomalous if its score is greater than the result.

A rule that separates two scores puts the threshold half-way between them. Among equally good thresholds the highest
is taken (fewest false positives), as MathWorks' perfcurve recipe does by scanning from the top.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

Floats = NDArray[np.float64]
Quantile = Annotated[float, Field(ge=0, le=1)]
_ROUNDING = 1e-9
"""Products of counts and shares that are nearer to a whole number are meant to be it."""


class Rule(Protocol):
    """A way to fit a threshold; its fields are its parameters."""

    name: ClassVar[str]
    needs_anomalous: ClassVar[bool]

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """Threshold for n finite scores with labels 0 (normal) or 1 (anomalous); ValueError if labels lack a class."""
        ...


@dataclass(frozen=True)
class Youden:
    """Greatest TPR - FPR, which is also the greatest balanced accuracy (Youden 1950)."""

    name: ClassVar[str] = "youden"
    needs_anomalous: ClassVar[bool] = True

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        cut = _cuts(scores, labels)
        return cut.best(cut.tp / cut.tp[-1] - cut.fp / cut.fp[-1])


@dataclass(frozen=True)
class F1:
    """Greatest F1 of the anomalous class."""

    name: ClassVar[str] = "f1"
    needs_anomalous: ClassVar[bool] = True

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        cut = _cuts(scores, labels)
        return cut.best(2 * cut.tp / (cut.tp + cut.fp + cut.tp[-1]))


@dataclass(frozen=True)
class Fpr:
    """False-alarm rate of at most q on average: the lowest normal calibration score that keeps the promise.

    Conformal: true on average for any distribution of scores (Vovk et al. 2005).
    """

    name: ClassVar[str] = "fpr"
    needs_anomalous: ClassVar[bool] = False
    q: Annotated[Quantile, Field(description="greatest false positive rate")] = 0.05

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        return _conformal(_normal(scores, labels), self.q)


@dataclass(frozen=True)
class NormalQuantile:
    """The q-quantile of normal scores, such that at least a share q of new normal images lies below it on average.

    Conformal: true on average for any distribution of scores (Vovk et al. 2005).
    """

    name: ClassVar[str] = "normal_quantile"
    needs_anomalous: ClassVar[bool] = False
    q: Annotated[Quantile, Field(description="quantile of the normal scores")] = 0.95

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        return _conformal(_normal(scores, labels), 1 - self.q)


@dataclass(frozen=True)
class Fixed:
    """The given threshold, whatever the scores."""

    name: ClassVar[str] = "fixed"
    needs_anomalous: ClassVar[bool] = False
    t: Annotated[float, Field(allow_inf_nan=False, description="the threshold", examples=[0.5])]

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        return self.t


RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Youden, F1, Fpr, NormalQuantile, Fixed)}
_MANY_NORMAL = 40


def default_rule(n_normal: int, n_anomalous: int) -> Rule:
    """The rule where none is asked for, from what the calibration part holds.

    `youden` from 6 defects on, and from 3 on where there are fewer than 40 normal images: a threshold fitted on fewer
    defects is worse than one that ignores them, but so is the quantile of few normal scores. Balanced accuracy on new
    images of `youden` minus that of `normal_quantile`, with 1, 2, 3, 4, 5, 6 and 8 defects (mean over 2,000 trials of
    Gaussian scores: ROC AUC of .8 to .99, defects that spread as much as normal scores or twice as much):

        10 normal images: -.033 -.006 +.004 +.008 +.013 +.014 +.018
        30 normal images: -.032 +.005 +.020 +.029 +.035 +.035 +.043
        40 normal images: -.058 -.020 -.005 +.004 +.009 +.012 +.017
        100 normal images: -.077 -.036 -.017 -.006 -.001 +.004 +.008
        200 normal images: -.086 -.043 -.025 -.014 -.007 -.002 +.005

    Args:
        n_normal: Normal calibration images.
        n_anomalous: Defective ones.
    """
    enough = 6 if n_normal >= _MANY_NORMAL else 3
    return Youden() if n_normal and n_anomalous >= enough else NormalQuantile()


def unkept_promise(rule: Rule, n_normal: int) -> str | None:
    """Why so few normal calibration images cannot keep the rule's false-alarm rate; None if they can or none is asked.

    The threshold is then the highest normal score, which the next normal image exceeds in 1 of n + 1 cases.
    """
    if not isinstance(rule, Fpr | NormalQuantile):
        return None
    rate = rule.q if isinstance(rule, Fpr) else 1 - rule.q
    if not rate:
        return "a false-alarm rate of 0 cannot be promised, whatever the number of normal calibration images"
    needed = math.ceil(1 / rate - 1 - _ROUNDING)
    if n_normal >= needed:
        return None
    return (
        f"only {n_normal} normal calibration images: a false-alarm rate of {100 * rate:g} % cannot be promised; "
        f"{needed} or more are needed"
    )


@dataclass(frozen=True)
class _Cuts:
    """Every distinct way to cut the scores in two, from the highest threshold (nothing positive) down.

    Attributes:
        thresholds: One more than there are distinct scores.
        tp: True positives at each threshold.
        fp: False positives at each threshold.
    """

    thresholds: Floats
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]

    def best(self, quality: NDArray[Any]) -> float:
        return float(self.thresholds[np.argmax(np.round(quality, 12))])


def _cuts(scores: ArrayLike, labels: ArrayLike) -> _Cuts:
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    if y.all() or not y.any():
        raise ValueError("both normal and anomalous calibration scores are needed")
    values, place = np.unique(s, return_inverse=True)
    positive = np.bincount(place, weights=y)[::-1].astype(np.int64)
    negative = np.bincount(place, weights=~y)[::-1].astype(np.int64)
    between = values[:-1] / 2 + values[1:] / 2
    between = np.where((between > values[:-1]) & (between < values[1:]), between, values[:-1])
    thresholds = np.concatenate([[values[-1]], between[::-1], [_below(values[0])]])
    start = np.zeros(1, np.int64)
    return _Cuts(thresholds, np.concatenate([start, np.cumsum(positive)]), np.concatenate([start, np.cumsum(negative)]))


def _normal(scores: ArrayLike, labels: ArrayLike) -> Floats:
    normal: Floats = np.asarray(scores, float)[~np.asarray(labels, bool)]
    if normal.size == 0:
        raise ValueError("normal calibration scores are needed")
    return normal


def _conformal(normal: Floats, rate: float) -> float:
    """The lowest of n normal scores that the next one exceeds with a chance of at most `rate`; the highest if none is.

    Its rank is ceil((n + 1) (1 - rate)): conformal prediction, exact for any distribution (Vovk et al. 2005). The
    plain quantile of 10, 30, 40 and 200 Gaussian scores has mean false positive rates of .120, .077, .072 and .054
    instead of .05; this one .090, .033, .049 and .050 (20,000 trials; 10 are too few).
    """
    rank = math.ceil((normal.size + 1) * (1 - rate) - _ROUNDING)
    ordered = np.sort(normal)
    return float(ordered[min(rank, ordered.size) - 1]) if rank > 0 else _below(ordered[0])


def _below(score: float) -> float:
    with np.errstate(over="ignore"):  # below the lowest float there is -inf, which serves
        return float(np.nextafter(score, -np.inf))
