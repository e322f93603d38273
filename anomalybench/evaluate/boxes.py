"""Boxes around what a map marks, and how well they fit the ground truth.

Boxes are half-open pixel ranges (top, left, bottom, right): all of row `top`, none of row `bottom`. A pixel is marked
if its value, scaled to [0, 1] over the map, is strictly greater than the threshold. A constant map marks nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalybench.evaluate.pixel import EIGHT_CONNECTED


class Box(NamedTuple):
    """Half-open ranges of rows and columns."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return max(0, self.bottom - self.top) * max(0, self.right - self.left)


@dataclass(frozen=True)
class BoxFit:
    """Predicted boxes against true ones, over any number of images.

    Attributes:
        iou: Mean over true boxes of the best overlap (intersection over union) with a predicted one.
        precision: Share of predicted boxes that find a true one of their own at the given overlap.
        recall: Share of true boxes that are found.
    """

    iou: float
    precision: dict[float, float]
    recall: dict[float, float]


def single(anomaly_map: NDArray[np.floating], threshold: float = 0.8) -> list[Box]:
    """At most one box around everything that is marked (Chernytska's article)."""
    return _boxes(marked(anomaly_map, threshold).astype(np.int32))


def components(anomaly_map: NDArray[np.floating], threshold: float = 0.8, min_area: int = 1) -> list[Box]:
    """One box per 8-connected component of at least `min_area` marked pixels."""
    return mask_boxes(marked(anomaly_map, threshold), min_area)


def mask_boxes(mask: NDArray[np.bool_], min_area: int = 1) -> list[Box]:
    """One box per 8-connected component of a mask, from the top."""
    labels, _ = ndimage.label(mask, structure=EIGHT_CONNECTED)
    areas = np.bincount(labels.ravel())
    labels[(areas < min_area)[labels]] = 0
    return _boxes(labels)


def marked(anomaly_map: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Where the map, scaled to [0, 1], is strictly greater than the threshold; nowhere in a constant map.

    Raises:
        ValueError: The map holds NaN or infinite values.
    """
    values = anomaly_map.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        raise ValueError("the map holds NaN or infinite values")
    hit: NDArray[np.bool_] = (values - low) > threshold * (high - low)
    return hit


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    overlap = Box(max(a.top, b.top), max(a.left, b.left), min(a.bottom, b.bottom), min(a.right, b.right)).area
    union = a.area + b.area - overlap
    return overlap / union if union else 0.0


def fit(pairs: Sequence[tuple[Sequence[Box], Sequence[Box]]], levels: Sequence[float] = (0.3, 0.5)) -> BoxFit:
    """How well predicted boxes fit true ones.

    Args:
        pairs: Per image its predicted and its true boxes; those of a good image called anomalous are all false.
        levels: Overlaps from which on a pair counts as found; pairs are matched greedily, the best first.
    """
    best = [max((iou(p, t) for p in predicted), default=0.0) for predicted, true in pairs for t in true]
    n_predicted, n_true = sum(len(p) for p, _ in pairs), sum(len(t) for _, t in pairs)
    found = {level: sum(_matches(p, t, level) for p, t in pairs) for level in levels}
    return BoxFit(
        iou=float(np.mean(best)) if best else float("nan"),
        precision={level: n / n_predicted if n_predicted else float("nan") for level, n in found.items()},
        recall={level: n / n_true if n_true else float("nan") for level, n in found.items()},
    )


def _boxes(labels: NDArray[np.integer]) -> list[Box]:
    slices = ndimage.find_objects(labels)
    return [Box(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in filter(None, slices)]


def _matches(predicted: Sequence[Box], true: Sequence[Box], level: float) -> int:
    overlaps = sorted(((iou(p, t), i, j) for i, p in enumerate(predicted) for j, t in enumerate(true)), reverse=True)
    taken_p: set[int] = set()
    taken_t: set[int] = set()
    for overlap, i, j in overlaps:
        if overlap >= level and i not in taken_p and j not in taken_t:
            taken_p.add(i)
            taken_t.add(j)
    return len(taken_p)
