"""Checks of raw scores that catch what metrics hide: a broken pipeline, turned scores, a shifted calibration."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

PERMUTATIONS = 200
_SUSPICIOUS = 0.01
_INVERTED = 0.4
ENOUGH = 10
"""Fewest test images of each class on which inverted scores are noted."""


@dataclass(frozen=True)
class Sanity:
    """What the checks of one job found; NaN where there are too few images.

    Attributes:
        shuffled_auroc: Mean ROC AUC over 200 shufflings of the test labels: near .5, or the measuring is broken.
        permutation_p: Share of these shufflings that reach the ROC AUC of the true labels.
        ks_normal_p: Kolmogorov-Smirnov p-value of normal calibration scores against normal test scores.
        ks_anomalous_p: The same for the anomalous ones.
    """

    shuffled_auroc: float
    permutation_p: float
    ks_normal_p: float
    ks_anomalous_p: float

    def as_dict(self) -> dict[str, float | None]:
        """Values by name, None instead of NaN."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}


def check(
    calibration: tuple[ArrayLike, ArrayLike], test: tuple[ArrayLike, ArrayLike], rng: np.random.Generator
) -> Sanity:
    """All checks.

    Args:
        calibration: Scores and labels of the calibration images.
        test: Scores and labels of the test images.
        rng: Shuffles the labels.
    """
    scores, labels = np.asarray(test[0], float), np.asarray(test[1], bool)
    ranks = stats.rankdata(scores)
    shuffled = _aurocs(ranks, rng.permuted(np.tile(labels, (PERMUTATIONS, 1)), axis=1))
    reached = (shuffled >= _aurocs(ranks, labels[None]) - 1e-12).sum()
    before, known = np.asarray(calibration[0], float), np.asarray(calibration[1], bool)
    return Sanity(
        shuffled_auroc=float(shuffled.mean()),
        permutation_p=float((1 + reached) / (1 + PERMUTATIONS)),
        ks_normal_p=_same_distribution(before[~known], scores[~labels]),
        ks_anomalous_p=_same_distribution(before[known], scores[labels]),
    )


def remarks(found: Sanity, auroc: float, *, fewest: int = ENOUGH, floor: bool = False) -> list[str]:
    """What is suspicious, in words; empty where nothing is.

    Args:
        found: From `check`.
        auroc: ROC AUC of the test images.
        fewest: Test images of the smaller class; below `ENOUGH` scores are never called inverted, below 2 nothing is
            said of shuffled labels.
        floor: Whether the method is a floor: it knows nothing of defects, so it may well lie below .5.
    """
    said: list[str] = []
    if auroc < _INVERTED and found.permutation_p > 1 - _SUSPICIOUS and fewest >= ENOUGH and not floor:
        said.append(f"scores look inverted: ROC AUC {auroc:.3f}, although higher must mean more anomalous")
    if abs(found.shuffled_auroc - 0.5) > 0.1 and fewest > 1:
        said.append(
            f"with shuffled labels the ROC AUC is {found.shuffled_auroc:.3f} instead of .5: the measuring fails"
        )
    for kind, p in (("normal", found.ks_normal_p), ("anomalous", found.ks_anomalous_p)):
        if p < _SUSPICIOUS:
            said.append(
                f"scores of {kind} calibration and test images differ (Kolmogorov-Smirnov p = {p:.2g}): "
                "the threshold may not transfer"
            )
    return said


def _aurocs(ranks: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """ROC AUC for each row of labels, from the ranks of the scores (Mann-Whitney)."""
    positive = labels.sum(1)
    total: NDArray[np.float64] = (labels * ranks).sum(1)
    with np.errstate(invalid="ignore"):  # undefined where a class is empty
        areas: NDArray[np.float64] = (total - positive * (positive + 1) / 2) / (positive * (labels.shape[1] - positive))
    return areas


def _same_distribution(a: Sequence[float] | NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if min(len(a), len(b)) < 2:
        return float("nan")
    with warnings.catch_warnings():  # with ties scipy may have to leave its exact formula, and says so each time
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(a, b).pvalue)
