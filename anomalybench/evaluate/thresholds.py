"""Threshold rules, fitted on calibration scores alone. An image is anomalous if its score is greater than the result.

A rule that separates two scores puts the threshold half-way between them. Among equally good thresholds the highest
is taken (fewest false positives), as MathWorks' perfcurve recipe does by scanning from the top.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

Floats = NDArray[np.float64]
Quantile = Annotated[float, Field(ge=0, le=1)]


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
    """Lowest threshold that calls at most a share q of the normal calibration images anomalous."""

    name: ClassVar[str] = "fpr"
    needs_anomalous: ClassVar[bool] = False
    q: Annotated[Quantile, Field(description="greatest false positive rate")] = 0.05

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        normal = np.sort(_normal(scores, labels))
        allowed = int(np.floor(self.q * normal.size + 1e-9))
        return float(normal[normal.size - 1 - allowed]) if allowed < normal.size else _below(normal[0])


@dataclass(frozen=True)
class NormalQuantile:
    """The q-quantile of the normal calibration scores, linearly interpolated."""

    name: ClassVar[str] = "normal_quantile"
    needs_anomalous: ClassVar[bool] = False
    q: Annotated[Quantile, Field(description="quantile of the normal scores")] = 0.95

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        return float(np.quantile(_normal(scores, labels), self.q))


@dataclass(frozen=True)
class Fixed:
    """The given threshold, whatever the scores."""

    name: ClassVar[str] = "fixed"
    needs_anomalous: ClassVar[bool] = False
    t: Annotated[float, Field(allow_inf_nan=False, description="the threshold")] = 0.0

    def fit(self, scores: ArrayLike, labels: ArrayLike) -> float:
        """See `Rule.fit`."""
        return self.t


RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Youden, F1, Fpr, NormalQuantile, Fixed)}


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


def _below(score: float) -> float:
    with np.errstate(over="ignore"):  # below the lowest float there is -inf, which serves
        return float(np.nextafter(score, -np.inf))
