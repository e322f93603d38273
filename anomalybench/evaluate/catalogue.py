"""Every metric's one home: a row that says what it is called, which way is better and where it is shown.

Tables, page, references, comparisons and resamples derive their lists from `METRICS`, in its order. A new metric is a
function and a row: of scores, labels and threshold (`image.ImageFunction`), or of the curves of pixel counts
(`pixel.PixelFunction`). Rows without a function are filled by whoever has what they are made from: `bench/localise.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anomalybench.evaluate import image, pixel
from anomalybench.evaluate.image import ImageFunction
from anomalybench.evaluate.pixel import Curves, PixelCounts, PixelFunction

Floats = NDArray[np.float64]
Level = Literal["image", "pixel", "box", "explanation"]
Place = Literal["summary", "limits", "terminal", "page"]
"""The summary CSV, the columns of limits beside it, the table in the terminal, and the page."""
RANKING = "auroc"
"""The metric that tables are ranked by."""


@dataclass(frozen=True)
class Tolerance:
    """How far a pinned result may move unnoticed.

    Attributes:
        value: The distance, or the share of the pinned value for what is on the scale of the scores.
        relative: Which of the two.
    """

    value: float
    relative: bool = False

    def of(self, pinned: float) -> float:
        """The distance for one pinned value."""
        return max(abs(pinned) * self.value, 1e-3) if self.relative else self.value


_RANKED = Tolerance(0.02)
SCALED = Tolerance(0.05, relative=True)
"""For what is on the scale of the scores, as thresholds are."""


@dataclass(frozen=True)
class Metric:
    """One row.

    Attributes:
        name: In records and tables.
        label: For people.
        level: What it judges.
        of_scores: The function that computes it from scores, for level `image`.
        of_pixels: The function that computes it from pixel counts, for level `pixel`.
        higher_is_better: None where neither is, as for counts.
        has_interval: Whether it is resampled, so that methods can be compared by it: in [0, 1], higher is better.
        oracle: Whether it picks something on the test images: a bound, not a result.
        tolerance: For pinned references; None if it is not pinned.
        shown: Where it is shown besides the table of jobs, which has all.
        heading: A short label for the terminal; the label if empty.
        leaves: Which columns leave a terminal that is too narrow: the highest number first, 0 never.

    Raises:
        ValueError: It has an interval, but higher is not better: comparisons would name the wrong method.
    """

    name: str
    label: str
    level: Level
    of_scores: ImageFunction | None = None
    of_pixels: PixelFunction | None = None
    higher_is_better: bool | None = True
    has_interval: bool = False
    oracle: bool = False
    tolerance: Tolerance | None = None
    shown: frozenset[Place] = frozenset()
    heading: str = ""
    leaves: int = 10

    def __post_init__(self) -> None:
        if self.has_interval and not self.higher_is_better:
            raise ValueError(f"metric {self.name}: only one of which higher is better can have an interval")


def _in(*places: Place) -> frozenset[Place]:
    return frozenset(places)


_ROWS = (
    Metric("auroc", "ROC AUC", "image", image.auroc, has_interval=True, tolerance=_RANKED,
           shown=_in("summary", "limits", "terminal", "page"), heading="ROC AUC", leaves=0),
    Metric("balanced_accuracy", "balanced accuracy", "image", image.balanced_accuracy, has_interval=True,
           tolerance=_RANKED, shown=_in("summary", "limits", "terminal", "page"), heading="bal. acc.", leaves=0),
    Metric("oracle_balanced_accuracy", "oracle balanced accuracy", "image", image.oracle_balanced_accuracy, oracle=True,
           shown=_in("summary", "terminal", "page"), heading="oracle", leaves=8),
    Metric("average_precision", "average precision", "image", image.average_precision, has_interval=True,
           tolerance=_RANKED, shown=_in("summary", "terminal", "page"), heading="AP", leaves=6),
    Metric("f1", "F1", "image", image.f1, shown=_in("summary", "terminal", "page"), heading="F1", leaves=7),
    Metric("accuracy", "accuracy", "image", image.accuracy),
    Metric("precision", "precision", "image", image.precision),
    Metric("recall", "recall", "image", image.recall),
    Metric("specificity", "specificity", "image", image.specificity),
    Metric("fpr", "false positive rate", "image", image.fpr, higher_is_better=False),
    Metric("fnr", "false negative rate", "image", image.fnr, higher_is_better=False),
    Metric("mcc", "Matthews correlation", "image", image.mcc),
    Metric("tp", "true positives", "image", lambda s, y, t: image.confusion(s, y, t).tp, higher_is_better=None),
    Metric("fp", "false positives", "image", lambda s, y, t: image.confusion(s, y, t).fp, higher_is_better=None),
    Metric("tn", "true negatives", "image", lambda s, y, t: image.confusion(s, y, t).tn, higher_is_better=None),
    Metric("fn", "false negatives", "image", lambda s, y, t: image.confusion(s, y, t).fn, higher_is_better=None),
    Metric("oracle_threshold", "oracle threshold", "image", image.oracle_threshold, higher_is_better=None, oracle=True,
           tolerance=SCALED),
    Metric("pixel_auroc", "pixel ROC AUC", "pixel", of_pixels=pixel.auroc, has_interval=True, tolerance=_RANKED,
           shown=_in("summary", "terminal", "page"), heading="pixel ROC AUC", leaves=3),
    Metric("aupro_30", "AU-PRO to FPR .3", "pixel", of_pixels=pixel.aupro_30, has_interval=True, tolerance=_RANKED,
           shown=_in("summary", "terminal", "page"), heading="AU-PRO", leaves=4),
    Metric("aupro_05", "AU-PRO to FPR .05", "pixel", of_pixels=pixel.aupro_05, has_interval=True,
           shown=_in("summary", "page")),
    Metric("pixel_ap", "pixel average precision", "pixel", of_pixels=pixel.average_precision, has_interval=True,
           shown=_in("summary", "page")),
    Metric("pixel_f1_max", "oracle pixel F1", "pixel", of_pixels=pixel.f1_max, oracle=True),
    Metric("n_without_mask", "defective images without a mask", "pixel", higher_is_better=None),
    Metric("pointing_game", "pointing game", "explanation", shown=_in("summary", "page")),
    Metric("relevance_mass", "relevance mass", "explanation"),
    Metric("insertion_auc", "insertion area", "explanation"),
    Metric("deletion_auc", "deletion area", "explanation", higher_is_better=False),
    Metric("replacement_lowers", "images whose score a normal picture lowers", "explanation", higher_is_better=None),
    Metric("box_iou", "box overlap (IoU)", "box", shown=_in("summary", "page")),
    Metric("box_precision_0.3", "box precision at IoU .3", "box"),
    Metric("box_precision_0.5", "box precision at IoU .5", "box"),
    Metric("box_recall_0.3", "box recall at IoU .3", "box"),
    Metric("box_recall_0.5", "box recall at IoU .5", "box"),
)  # fmt: skip
METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}


def names(
    *,
    level: Level | None = None,
    shown_in: Place | None = None,
    has_interval: bool | None = None,
    pinned: bool | None = None,
) -> list[str]:
    """Names of the metrics for which all that is asked holds, in the order of columns."""
    return [
        metric.name
        for metric in METRICS.values()
        if level in (None, metric.level)
        and (shown_in is None or shown_in in metric.shown)
        and has_interval in (None, metric.has_interval)
        and pinned in (None, metric.tolerance is not None)
    ]


def measure_image(scores: ArrayLike, labels: ArrayLike, threshold: float) -> dict[str, float]:
    """Every metric of n finite scores with labels 0 or 1 at a threshold (anomalous if score > threshold)."""
    rows = ((metric.name, metric.of_scores) for metric in METRICS.values())
    return {name: function(scores, labels, threshold) for name, function in rows if function is not None}


def resample_image(
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float,
    weight: NDArray[np.float32],
    known: Mapping[str, Floats],
) -> dict[str, Floats]:
    """Every image metric that has an interval, in every resample.

    Args:
        scores: n finite scores.
        labels: n labels, 0 or 1.
        threshold: An image is called anomalous if its score is greater.
        weight: b x n, how often each image counts in each resample.
        known: Those that a faster function than `image.resample` has computed, by name.
    """
    rows = [METRICS[name] for name in names(level="image", has_interval=True)]
    slow = {
        row.name: image.resample(row.of_scores, scores, labels, threshold, weight)
        for row in rows
        if row.of_scores is not None and row.name not in known
    }
    return {row.name: known[row.name] if row.name in known else slow[row.name] for row in rows}


def measure_pixels(counts: PixelCounts) -> dict[str, float]:
    """Every metric of pixel counts; NaN where there is no defective or no good pixel."""
    rows = [(metric.name, metric.of_pixels) for metric in METRICS.values()]
    if not counts.complete:
        return {name: float("nan") for name, function in rows if function is not None}
    curves = counts.curves()
    return {name: float(function(curves)) for name, function in rows if function is not None}


def resample_pixels(curves: Curves) -> dict[str, Floats]:
    """Every pixel metric that has an interval, of the curves of b resamples."""
    rows = ((name, METRICS[name].of_pixels) for name in names(level="pixel", has_interval=True))
    return {name: function(curves) for name, function in rows if function is not None}
