"""How sure a number is: resampled test images and intervals.

In resample b an image counts w times, w being a Poisson(1) number that depends on nothing but b and the image's key. So
an image that is tested by several methods, folds or seeds counts the same in all of them: differences between methods
are paired, and what folds and seeds share is not counted as new evidence, without any further bookkeeping. Shots of one
object share a key. Metrics are stratified: each class keeps its share whatever it weighs.

Intervals take the resamples' standard deviation on the logit scale around the estimate, because plain percentiles are
too short where it matters. Share of Gaussian trials whose true ROC AUC lay inside, percentiles (600 trials) against
ours (1,000 to 2,000): 30 + 30 images at .95: 92.0 against 94.4 %; at .98: 83.5 against 97.1 %; 100 + 100 at .98: 90.8
against 94.2 %.
Where the test images are judged without any mistake, resamples agree and tell nothing; then Wilson's limit is taken.
Where a class has fewer than two objects, there is no interval: with one defective image it held the truth in 67 to 92 %
of trials.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

RESAMPLES = 2000
LEVEL = 0.95
Floats = NDArray[np.float64]
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
EXACT = 1e-9
"""Smaller differences are rounding."""
MEAN_WEIGHTS = {"anomalous": "mean_weight_anomalous", "normal": "mean_weight_normal"}
"""Names of two more values of each resample: how often an image of the class counts on average.

Their covariance over two jobs is the number of objects that both test, divided by the two numbers of images: it tells
how many objects several jobs have tested together.
"""


class Interval(NamedTuple):
    """A 95 % confidence interval; NaN where nothing can be said."""

    low: float
    high: float


def quantile(freedom: float = math.inf) -> float:
    """How many standard errors a 95 % interval reaches to each side, by the error's degrees of freedom."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def weights(keys: Sequence[str]) -> NDArray[np.float32]:
    """How often each of n images counts in each resample: RESAMPLES x n, from the keys alone."""
    drawn = {key: np.random.default_rng(list(hashlib.sha256(key.encode()).digest())) for key in dict.fromkeys(keys)}
    counts = {key: rng.poisson(1, RESAMPLES).astype(np.float32) for key, rng in drawn.items()}
    return np.stack([counts[key] for key in keys], axis=1)


def resample(scores: ArrayLike, labels: ArrayLike, threshold: float, weight: NDArray[np.float32]) -> dict[str, Floats]:
    """ROC AUC, average precision and balanced accuracy in every resample, NaN where one lacks a class; `MEAN_WEIGHTS`.

    Args:
        scores: n finite scores.
        labels: n labels, 0 or 1.
        threshold: An image is called anomalous if its score is greater.
        weight: b x n, from `weights`.
    """
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    order = np.argsort(-s, kind="stable")
    s, y, w = s[order], y[order], weight[:, order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, np.diff(s) != 0])
    positive, negative = _shares(w, y), _shares(w, ~y)
    hits, falls = (np.add.reduceat(part, starts, axis=1) for part in (positive, negative))
    recall, fpr = np.cumsum(hits, axis=1), np.cumsum(falls, axis=1)
    called = recall * y.sum() + fpr * (~y).sum()
    above = s > threshold
    return {
        "auroc": (hits * (1 - fpr + falls / 2)).sum(1),
        "average_precision": (hits * np.divide(recall * y.sum(), called, where=called != 0, out=called * 0)).sum(1),
        "balanced_accuracy": (positive @ above + negative @ ~above) / 2,
        MEAN_WEIGHTS["anomalous"]: _mean(w[:, y]),
        MEAN_WEIGHTS["normal"]: _mean(w[:, ~y]),
    }


def interval(estimate: float, spread: float) -> Interval:
    """Interval of a metric that lies in [0, 1], from its standard error; the estimate itself where that is 0.

    Args:
        estimate: The metric on the images as they are.
        spread: Its standard error, as from `standard_error`.
    """
    if not np.isfinite(estimate + spread):
        return Interval(float("nan"), float("nan"))
    if spread < EXACT:
        return Interval(estimate, estimate)
    if not EXACT < estimate < 1 - EXACT:
        return Interval(max(0.0, estimate - Z * spread), min(1.0, estimate + Z * spread))
    reach = Z * spread / (estimate * (1 - estimate))
    return Interval(*(float(v) for v in special.expit(special.logit(estimate) + np.array([-reach, reach]))))


def standard_error(estimate: float, resamples: Floats, n_anomalous: float, n_normal: float) -> float:
    """Standard deviation of the resamples; for a perfect result, that of Wilson's limit for as many images.

    Args:
        estimate: The metric on the images as they are.
        resamples: The metric in every resample.
        n_anomalous: Anomalous objects in the test part; NaN is returned below 2 of either class.
        n_normal: Normal objects.
    """
    known = resamples[np.isfinite(resamples)]
    if known.size < 2 or min(n_anomalous, n_normal) < 1.5:  # shared objects are not counted exactly
        return float("nan")
    if min(estimate, 1 - estimate) < EXACT and np.ptp(known) < EXACT:
        return math.hypot(_wilson_error(n_anomalous), _wilson_error(n_normal)) / 2
    return float(known.std(ddof=1))


def balanced_accuracy_interval(tp: float, fn: float, fp: float, tn: float) -> Interval:
    """Interval of one job's balanced accuracy, from its numbers of objects by outcome; see `mean_of_shares`."""
    if not (tp + fn and tn + fp):
        return Interval(math.nan, math.nan)
    shares = ((np.array([tp / (tp + fn)]), tp + fn), (np.array([tn / (tn + fp)]), tn + fp))
    return mean_of_shares(*((share, np.array([[1 / n]])) for share, n in shares))


def mean_of_shares(*classes: tuple[Floats, Floats]) -> Interval:
    """Interval of balanced accuracy, mean over j jobs: of each class its Wilson interval, the distances in quadrature.

    Wilson 1927; Newcombe 1998. The resamples of balanced accuracy are not asked: those of a class that is judged
    without mistake agree however few its images are, and their intervals held the truth in 75 % of trials with 3
    defects and 20 normal images.

    Args:
        classes: For each class the j shares that are judged rightly, and the j x j covariances of `MEAN_WEIGHTS`: 1 / n
            on the diagonal and between jobs that test the same n objects, 0 between jobs that share none.
    """
    found = [(float(shares.mean()), _share_interval(shares, covariance)) for shares, covariance in classes]
    estimate = sum(share for share, _ in found) / len(found)
    down = math.hypot(*(share - limit.low for share, limit in found)) / len(found)
    up = math.hypot(*(limit.high - share for share, limit in found)) / len(found)
    return Interval(estimate - down, estimate + up)


def objects(covariance: Floats) -> float:
    """To how many objects of one job the tests of several jobs amount, from their covariances of `MEAN_WEIGHTS`."""
    total = float(covariance.mean())
    return 1 / total if total > 0 else math.nan


def _share_interval(shares: Floats, covariance: Floats) -> Interval:
    """Wilson's interval of the mean of shares, for as many objects as there are; errors on one object count as one.

    Where some shares stand on more than twice as many objects as others, the few may be the harder ones, and the mean
    less sure than that. Then the shares' own intervals are put together as well (Zou and Donner 2008), and the wider
    limits are taken. Share of trials with the truth inside, jobs' images pooled as if all were new evidence / ours:
    unseen_defect with five types of 20 images and 20 normal ones that all folds share: 81 to 93 / 95 to 98 % (the more
    alike the folds' errors, the less); types of 5 and 95: 4 to 92 / 95 to 99 %.
    """
    n_each, mean = 1 / np.diag(covariance), float(shares.mean())
    whole = wilson(mean, objects(covariance))
    if n_each.max() <= 2 * n_each.min():
        return whole
    limits = np.array([wilson(share, n) for share, n in zip(shares, n_each, strict=True)])
    down, up = (
        math.sqrt((covariance * np.outer(away, away) * np.sqrt(np.outer(n_each, n_each))).mean())
        for away in np.abs(limits.T - shares)
    )
    return Interval(min(whole.low, mean - down), max(whole.high, mean + up))


def wilson(share: float, n: float) -> Interval:
    """Wilson's interval of a share of n; without any, all that a share can be (Wilson 1927)."""
    if not n:
        return Interval(0.0, 1.0)
    middle, reach = share + Z**2 / (2 * n), Z * math.sqrt(max(0, share * (1 - share)) / n + (Z / (2 * n)) ** 2)
    low, high = ((middle + sign * reach) / (1 + Z**2 / n) for sign in (-1, 1))
    return Interval(max(0.0, low), min(1.0, high))


def _wilson_error(n: float) -> float:
    """Distance of Wilson's limit from a share of 0 or 1 among n, in standard errors' units."""
    return Z / (n + Z**2)


def _mean(rows: Floats) -> Floats:
    """Mean of each row; NaN where it is empty."""
    return np.asarray(rows.mean(1)) if rows.shape[1] else np.full(len(rows), np.nan)


def _shares(weight: Floats, members: NDArray[np.bool_]) -> Floats:
    """Each member's share of its class per resample; other images 0; NaN where the class is not drawn at all."""
    part: Floats = weight * members
    total = part.sum(1, keepdims=True)
    shares: Floats = np.divide(part, total, where=total > 0, out=np.full_like(part, np.nan))
    return shares
