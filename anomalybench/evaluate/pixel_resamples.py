"""Pixel metrics in every resample of the test images.

Each image leaves its pixel counts per bin. Bins are then merged into some 1,400, none of which holds more than 1/512 of
the good pixels or of the regions' overlap, or 1/16 of an octave of all pixels from the highest down, among which
precision changes fast; a resample is a weighted sum of these counts: a matrix product instead of 2,000 passes over the
pixels. Only the spread is taken from here; the metrics are those of `total`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anomalybench.evaluate import catalogue
from anomalybench.evaluate.pixel import Bins, Curves, Map, Mask, PixelCounts

_PER_AXIS = 512
_PER_OCTAVE = 16
_CHUNK = 250
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class _Image:
    """Counts of one image at the bins where it has any."""

    places: NDArray[np.int32]
    counts: NDArray[np.float32]
    regions: int


@dataclass
class PixelResamples:
    """Feed it one image after the other; `total` gives the metrics and `resample` how far they can be trusted.

    Attributes:
        edges: See `PixelCounts`.
        total: Counts of all images.
        images: Counts of each.
    """

    edges: Map
    total: PixelCounts = field(init=False)
    images: list[_Image] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = PixelCounts(self.edges)

    def add(self, anomaly_map: Map, mask: Mask | None) -> None:
        """Count one image: see `PixelCounts.add`."""
        one = PixelCounts(self.edges)
        one.add(anomaly_map, mask)
        self.total += one
        counts = np.stack([one.good, one.bad, one.overlap])
        places = np.flatnonzero(counts.any(axis=0)).astype(np.int32)
        self.images.append(_Image(places, counts[:, places].astype(np.float32), one.regions))

    def resample(self, weight: Weights) -> dict[str, Bins]:
        """Every pixel metric that has an interval, in every resample; NaN where one lacks a region.

        Empty without regions or good pixels.

        Args:
            weight: b x n, how often each of the n images counts, in the order in which they were added.
        """
        regions = np.array([image.regions for image in self.images], np.float64)
        if not regions.any() or not self.total.complete:
            return {}
        balanced = _stratified(weight, regions > 0)
        merged = self._merged()
        chunks = np.array_split(balanced, -(-len(balanced) // _CHUNK))
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [catalogue.resample_pixels(_curves(chunk, merged, regions)) for chunk in chunks]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _merged(self) -> NDArray[np.float32]:
        """Counts per image and bin, from the highest bin down: 3 (good, bad, overlap) x n x bins."""
        good, bad, overlap = (bins[::-1] for bins in (self.total.good, self.total.bad, self.total.overlap))
        axes = [np.minimum(_PER_AXIS * np.cumsum(part) / part.sum(), _PER_AXIS - 1) for part in (good, overlap)]
        axes.append(_PER_OCTAVE * np.log2(np.maximum(np.cumsum(good + bad), 1)))
        _, falling = np.unique(sum(axis.astype(np.int64) for axis in axes), return_inverse=True)
        bins = falling[::-1]
        merged = np.zeros((3, len(self.images), int(falling[-1]) + 1), np.float32)
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


def _curves(weight: Bins, merged: NDArray[np.float32], regions: Bins) -> Curves:
    good, bad, overlap = (np.cumsum(weight @ counts, axis=1) for counts in merged)
    return Curves(good, bad, overlap, weight @ regions)
