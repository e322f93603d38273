"""Image metrics from raw scores. Positive = anomalous throughout; what is undefined is NaN, never a made-up number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anomalybench.evaluate.thresholds import Youden


@dataclass(frozen=True)
class ImageMetrics:
    """Measured on n test images at one threshold.

    Attributes:
        auroc: Area under the ROC curve; of the scores, so free of any threshold.
        average_precision: Step-wise area under the precision-recall curve.
        accuracy: Share judged right.
        balanced_accuracy: Mean of recall and specificity.
        precision: TP / (TP + FP).
        recall: TP / (TP + FN), the true positive rate.
        specificity: TN / (TN + FP).
        f1: Harmonic mean of precision and recall.
        fpr: FP / (FP + TN).
        fnr: FN / (FN + TP).
        mcc: Matthews correlation coefficient; 0 where a row or column of the confusion matrix is empty.
        tp: Anomalous images called anomalous.
        fp: Normal images called anomalous.
        tn: Normal images called normal.
        fn: Anomalous images called normal.
        oracle_balanced_accuracy: The best that any threshold reaches on these very images: a bound, not a result.
        oracle_threshold: The threshold that reaches it.
    """

    auroc: float
    average_precision: float
    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    specificity: float
    f1: float
    fpr: float
    fnr: float
    mcc: float
    tp: int
    fp: int
    tn: int
    fn: int
    oracle_balanced_accuracy: float
    oracle_threshold: float


def measure(scores: ArrayLike, labels: ArrayLike, threshold: float) -> ImageMetrics:
    """All image metrics of n finite scores with labels 0 or 1 at `threshold` (positive if score > threshold)."""
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    called = s > threshold
    tp, fp = int((called & y).sum()), int((called & ~y).sum())
    fn, tn = int((~called & y).sum()), int((~called & ~y).sum())
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    both = y.any() and not y.all()
    oracle = Youden().fit(s, y) if both else float("nan")
    spread = float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn)
    return ImageMetrics(
        auroc=auroc(s, y),
        average_precision=average_precision(s, y),
        accuracy=_ratio(tp + tn, y.size),
        balanced_accuracy=(recall + specificity) / 2,
        precision=_ratio(tp, tp + fp),
        recall=recall,
        specificity=specificity,
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        fpr=_ratio(fp, fp + tn),
        fnr=_ratio(fn, fn + tp),
        mcc=(tp * tn - fp * fn) / spread**0.5 if spread else 0.0,
        tp=tp, fp=fp, tn=tn, fn=fn,
        oracle_balanced_accuracy=(float((s[y] > oracle).mean()) + float((s[~y] <= oracle).mean())) / 2
        if both else float("nan"),
        oracle_threshold=oracle,
    )  # fmt: skip


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomalous score exceeds a normal one, ties counting half."""
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    positive, negative = s[y], np.sort(s[~y])
    if positive.size == 0 or negative.size == 0:
        return float("nan")
    beaten = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(beaten.sum() / (2 * positive.size * negative.size))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Sum over distinct thresholds of precision times the gain in recall; NaN without anomalous images."""
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    if not y.any():
        return float("nan")
    values, place = np.unique(-s, return_inverse=True)
    hits = np.bincount(place, weights=y, minlength=values.size)
    called = np.cumsum(np.bincount(place, minlength=values.size))
    return float((np.cumsum(hits) / called * hits).sum() / hits.sum())


def accuracy_by_defect(
    scores: ArrayLike, labels: ArrayLike, defects: Sequence[str], threshold: float
) -> dict[str, float]:
    """Share judged right for each defect type among n images; the normal images are one of the types."""
    right: NDArray[np.bool_] = (np.asarray(scores, float) > threshold) == np.asarray(labels, bool)
    kinds = np.asarray(defects, dtype=object)
    return {str(kind): float(right[kinds == kind].mean()) for kind in sorted(set(kinds))}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
