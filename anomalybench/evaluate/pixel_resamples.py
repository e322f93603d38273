"""Pixel metrics in every resample of the test images.

Each image leaves its pixel counts per distinct map value. Values are then merged into some 1,400 bins, none of which
holds more than 1/512 of the good pixels or of the regions' overlap, or 1/16 of an octave of all pixels from the highest
down, among which precision changes fast; a resample is a weighted sum of these counts: a matrix product instead of
2,000 passes over the pixels. Only the spread is taken from here; the metrics are exact.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anomalybench.evaluate.pixel_metrics import Bins, Map, Mask, PixelCounts

_PER_AXIS = 512
_PER_OCTAVE = 16
_CHUNK = 250
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class _Image:
    """Counts of one image at the places where it has any, from the highest value down."""

    places: NDArray[np.int32]
    counts: NDArray[np.float32]
    regions: int


@dataclass
class PixelResamples:
    """Feed it one image after the other; `total` gives the metrics and `resample` how far they can be trusted.

    Attributes:
        total: Counts of all images.
        images: Counts of each.
    """

    total: PixelCounts = field(default_factory=PixelCounts)
    images: list[_Image] = field(default_factory=list)

    def add(self, anomaly_map: Map, mask: Mask | None) -> None:
        """Count one image: see `PixelCounts.add`."""
        one = PixelCounts()
        one.add(anomaly_map, mask)
        self.total += one
        counts = np.stack(one.descending())
        places = np.flatnonzero(counts.any(axis=0)).astype(np.int32)
        self.images.append(_Image(places, counts[:, places].astype(np.float32), one.regions))

    def resample(self, weight: Weights) -> dict[str, Bins]:
        """Pixel ROC AUC, average precision and AU-PRO in every resample, NaN where one lacks a region.

        Empty without regions or good pixels.

        Args:
            weight: b x n, how often each of the n images counts, in the order in which they were added.
        """
        regions = np.array([image.regions for image in self.images], np.float64)
        if not regions.any() or not self.total.good.any():
            return {}
        balanced = _stratified(weight, regions > 0)
        merged = self._merged()
        parts = [_curves(part, merged, regions) for part in np.array_split(balanced, -(-len(balanced) // _CHUNK))]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _merged(self) -> NDArray[np.float32]:
        """Counts per image and bin: 3 (good, bad, overlap) x n x bins."""
        good, bad, overlap = self.total.descending()
        axes = [np.minimum(_PER_AXIS * np.cumsum(part) / part.sum(), _PER_AXIS - 1) for part in (good, overlap)]
        axes.append(_PER_OCTAVE * np.log2(np.maximum(np.cumsum(good + bad), 1)))
        _, bins = np.unique(sum(axis.astype(np.int64) for axis in axes), return_inverse=True)
        merged = np.zeros((3, len(self.images), int(bins[-1]) + 1), np.float32)
        for i, image in enumerate(self.images):
            for kind in range(3):
                merged[kind, i] = np.bincount(bins[image.places], image.counts[kind], merged.shape[2])
        return merged


def _stratified(weight: Weights, defective: NDArray[np.bool_]) -> Bins:
    """Weights scaled so that good and defective images keep their numbers in every resample."""
    scaled = weight.astype(np.float64)
    for stratum in (defective, ~defective):
        total = scaled[:, stratum].sum(1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled[:, stratum] *= stratum.sum() / total
    return scaled


def _curves(weight: Bins, merged: NDArray[np.float32], regions: Bins) -> dict[str, Bins]:
    good, bad, overlap = (np.cumsum(weight @ counts, axis=1) for counts in merged)
    hits = np.diff(bad, axis=1, prepend=0)
    fpr = good / good[:, -1:]
    recall = bad / bad[:, -1:]
    pro = overlap / (weight @ regions)[:, None]
    called = np.maximum(bad + good, 1e-9)
    return {
        "pixel_auroc": _area(fpr, recall, 1.0),
        "pixel_ap": (bad / called * hits).sum(1) / bad[:, -1],
        "aupro_30": _area(fpr, pro, 0.3),
        "aupro_05": _area(fpr, pro, 0.05),
    }


def _area(x: Bins, y: Bins, limit: float) -> Bins:
    """Trapezoidal area under each row's curve from (0, 0) up to x = limit, divided by the limit."""
    x0, x1 = np.pad(x, ((0, 0), (1, 0)))[:, :-1], x
    y0, y1 = np.pad(y, ((0, 0), (1, 0)))[:, :-1], y
    inside = np.clip(limit - x0, 0, x1 - x0)
    slope = np.divide(y1 - y0, x1 - x0, where=x1 > x0, out=np.zeros_like(x))
    area: Bins = (inside * (y0 + slope * inside / 2)).sum(1) / limit
    return area
