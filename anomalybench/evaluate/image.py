"""Image metrics: one function each, of scores, labels and a threshold. `catalogue.METRICS` has a row for every one.

Positive = anomalous. What is undefined is NaN, never a made-up number. Average precision is scikit-learn's. ROC AUC is
counted here, because the sanity checks ask for it 200 times per job (6 us against scikit-learn's 930 us for 200
images); so are the four counts of the confusion matrix, which twelve metrics share (510 us each with scikit-learn).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anomalybench.evaluate.thresholds import Youden

Floats = NDArray[np.float64]
ImageFunction = Callable[[ArrayLike, ArrayLike, float], float]
"""Of n finite scores, n labels (0 or 1) and a threshold; an image is called anomalous if its score is greater."""


class Confusion(NamedTuple):
    """How many images of each class are called what."""

    tp: int
    fp: int
    tn: int
    fn: int


def confusion(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Confusion:
    """The confusion matrix of n scores with labels 0 or 1."""
    called, y = np.asarray(scores, float) > threshold, np.asarray(labels, bool)
    tp, fp = int((called & y).sum()), int((called & ~y).sum())
    return Confusion(tp, fp, int((~y).sum()) - fp, int(y.sum()) - tp)


def auroc(scores: ArrayLike, labels: ArrayLike, threshold: float = 0.0) -> float:
    """Area under the ROC curve: the chance that an anomalous score exceeds a normal one, ties counting half.

    The threshold plays no part.
    """
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    positive, negative = s[y], np.sort(s[~y])
    if positive.size == 0 or negative.size == 0:
        return float("nan")
    beaten = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(beaten.sum() / (2 * positive.size * negative.size))


def average_precision(scores: ArrayLike, labels: ArrayLike, threshold: float = 0.0) -> float:
    """Sum over distinct thresholds of precision times the gain in recall. The given threshold plays no part."""
    from sklearn.metrics import average_precision_score  # here, since tables are made without it: 0.1 s

    y = np.asarray(labels, bool)
    return float(average_precision_score(y, np.asarray(scores, float))) if y.any() else float("nan")


def accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share judged right."""
    c = confusion(scores, labels, threshold)
    return _ratio(c.tp + c.tn, sum(c))


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Mean of recall and specificity."""
    return (recall(scores, labels, threshold) + specificity(scores, labels, threshold)) / 2


def precision(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of anomalous images among those called anomalous."""
    c = confusion(scores, labels, threshold)
    return _ratio(c.tp, c.tp + c.fp)


def recall(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the anomalous images that are called anomalous: the true positive rate."""
    c = confusion(scores, labels, threshold)
    return _ratio(c.tp, c.tp + c.fn)


def specificity(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the normal images that are called normal."""
    c = confusion(scores, labels, threshold)
    return _ratio(c.tn, c.tn + c.fp)


def f1(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Harmonic mean of precision and recall; NaN where no image is anomalous, as recall is."""
    c = confusion(scores, labels, threshold)
    return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn) if c.tp + c.fn else float("nan")


def fpr(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the normal images that are called anomalous: false alarms."""
    c = confusion(scores, labels, threshold)
    return _ratio(c.fp, c.fp + c.tn)


def fnr(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the anomalous images that are called normal: missed defects."""
    c = confusion(scores, labels, threshold)
    return _ratio(c.fn, c.fn + c.tp)


def mcc(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Matthews correlation coefficient; 0 where a row or column of the confusion matrix is empty."""
    tp, fp, tn, fn = confusion(scores, labels, threshold)
    spread = float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn)
    return (tp * tn - fp * fn) / spread**0.5 if spread else 0.0


def oracle_threshold(scores: ArrayLike, labels: ArrayLike, threshold: float = 0.0) -> float:
    """The threshold with the best balanced accuracy on these very images; the given one plays no part."""
    y = np.asarray(labels, bool)
    return Youden().fit(scores, y) if y.any() and not y.all() else float("nan")


def oracle_balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float = 0.0) -> float:
    """The best balanced accuracy that any threshold reaches on these very images: a bound, not a result."""
    return balanced_accuracy(scores, labels, oracle_threshold(scores, labels))


def accuracy_by_defect(
    scores: ArrayLike, labels: ArrayLike, defects: Sequence[str], threshold: float
) -> dict[str, float]:
    """Share judged right for each defect type among n images; the normal images are one of the types."""
    right: NDArray[np.bool_] = (np.asarray(scores, float) > threshold) == np.asarray(labels, bool)
    kinds = np.asarray(defects, dtype=object)
    return {str(kind): float(right[kinds == kind].mean()) for kind in sorted(set(kinds))}


def resample(
    function: ImageFunction, scores: ArrayLike, labels: ArrayLike, threshold: float, weight: NDArray[np.float32]
) -> Floats:
    """Any image metric in every resample: each image is repeated as often as it counts; NaN where a class is not drawn.

    Slow (2,000 calls) and general. The classes' shares vary here, which makes the interval of a metric that depends on
    them a little wider than one at fixed shares.

    Args:
        function: The metric.
        scores: n finite scores.
        labels: n labels, 0 or 1.
        threshold: An image is called anomalous if its score is greater.
        weight: b x n whole numbers, how often each image counts in each resample.
    """
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    values = np.full(len(weight), np.nan)
    for b, times in enumerate(weight.astype(np.int64)):
        drawn = np.repeat(y, times)
        if drawn.any() and not drawn.all():
            values[b] = function(np.repeat(s, times), drawn, threshold)
    return values


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
