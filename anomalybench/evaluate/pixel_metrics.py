"""Pixel metrics of anomaly maps, exact and in memory that does not grow with the number of pixels.

Maps are stored as float16, which has only 65,536 values. Counting good and defective pixels per value is therefore all
that a ranking metric needs: one `bincount` over the raw bits per map, and at the end one reordering of the 65,536 bins
by the value they stand for. There is no sort and nothing is binned away.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Map = NDArray[np.float16]
Mask = NDArray[np.bool_]
Bins = NDArray[np.float64]

_BITS = np.arange(65536, dtype=np.uint16)
_VALUES = _BITS.view(np.float16)
_FINITE = np.flatnonzero(np.isfinite(_VALUES))
_DESCENDING = _FINITE[np.argsort(-_VALUES[_FINITE].astype(np.float64), kind="stable")]
_STARTS = np.flatnonzero(np.r_[True, np.diff(_VALUES[_DESCENDING].astype(np.float64)) != 0])
"""-0 and 0 are one value, so bins are added up between these places."""
EIGHT_CONNECTED = np.ones((3, 3), bool)


@dataclass(frozen=True)
class PixelMetrics:
    """Measured over all pixels of all images that were counted.

    Attributes:
        pixel_auroc: Area under the ROC curve of all pixels pooled.
        pixel_ap: Average precision (step-wise) of all pixels pooled.
        pixel_f1_max: The best F1 of any threshold on these very pixels: an oracle.
        aupro_30: Area under the per-region overlap curve up to a false positive rate of .3, divided by .3.
        aupro_05: The same up to .05.
    """

    pixel_auroc: float
    pixel_ap: float
    pixel_f1_max: float
    aupro_30: float
    aupro_05: float


@dataclass
class PixelCounts:
    """Running counts per float16 value: feed it one image after the other, then ask for the metrics.

    Attributes:
        good: Defect-free pixels per value, by raw bits.
        bad: Defective pixels per value, by raw bits.
        overlap: Summed weight of regions per value: each region has weight 1, shared by its pixels.
        regions: Number of regions.
    """

    good: Bins = field(default_factory=lambda: np.zeros(65536))
    bad: Bins = field(default_factory=lambda: np.zeros(65536))
    overlap: Bins = field(default_factory=lambda: np.zeros(65536))
    regions: int = 0

    def add(self, anomaly_map: Map, mask: Mask | None) -> None:
        """Count one image; the regions are the mask's 8-connected components.

        Args:
            anomaly_map: height x width, finite float16.
            mask: height x width, True where defective; None or all False for a good image.

        Raises:
            ValueError: Shapes differ, or a value is NaN or infinite.
        """
        bits = self._count(anomaly_map, mask)
        if mask is None or not mask.any():
            return
        labels, n = ndimage.label(mask, structure=EIGHT_CONNECTED)
        inside = labels[mask]
        areas = np.bincount(inside, minlength=n + 1)
        self.overlap += np.bincount(bits[mask], weights=1 / areas[inside], minlength=65536)
        self.regions += n

    def add_saturated(self, anomaly_map: Map, regions: Iterable[tuple[Mask, float]]) -> None:
        """Count one image for sPRO (MVTec LOCO): each region is (mask, saturation area in pixels).

        A region's overlap grows with its highest pixels until `saturation` of them are found, and is 1 from there on.
        """
        listed = list(regions)
        union = np.zeros(anomaly_map.shape, bool)
        for mask, _ in listed:
            union |= mask
        bits = self._count(anomaly_map, union)
        for mask, saturation in listed:
            found = np.bincount(bits[mask], minlength=65536)[_DESCENDING]
            reached = np.minimum(np.cumsum(found) / saturation, 1)
            self.overlap[_DESCENDING] += np.diff(reached, prepend=0)
        self.regions += len(listed)

    def _count(self, anomaly_map: Map, mask: Mask | None) -> NDArray[np.uint16]:
        if anomaly_map.dtype != np.float16:
            raise ValueError(f"maps are float16, not {anomaly_map.dtype}")
        if mask is not None and mask.shape != anomaly_map.shape:
            raise ValueError(f"the mask is {mask.shape}, the map {anomaly_map.shape}")
        bits = np.ascontiguousarray(anomaly_map).view(np.uint16)
        counts = np.bincount(bits.ravel(), minlength=65536)
        if counts.sum() != counts[_FINITE].sum():
            raise ValueError("the map holds NaN or infinite values")
        if mask is None:
            self.good += counts
            return bits
        bad = np.bincount(bits[mask], minlength=65536)
        self.bad += bad
        self.good += counts - bad
        return bits

    def __iadd__(self, other: "PixelCounts") -> "PixelCounts":
        self.good += other.good
        self.bad += other.bad
        self.overlap += other.overlap
        self.regions += other.regions
        return self

    def descending(self) -> tuple[Bins, Bins, Bins]:
        """Good pixels, defective pixels and overlap per distinct value, from the highest value down."""
        return _descending(self.good), _descending(self.bad), _descending(self.overlap)

    def metrics(self) -> PixelMetrics:
        """All metrics; NaN where there is no defective or no good pixel."""
        fp, tp, overlap = (_cumulated(bins) for bins in (self.good, self.bad, self.overlap))
        if fp[-1] == 0 or tp[-1] == 0:
            nan = float("nan")
            return PixelMetrics(nan, nan, nan, nan, nan)
        hits = np.diff(tp, prepend=0)
        return PixelMetrics(
            pixel_auroc=float(np.trapezoid(np.r_[0, tp], np.r_[0, fp]) / (tp[-1] * fp[-1])),
            pixel_ap=float((tp / np.maximum(tp + fp, 1) * hits).sum() / tp[-1]),
            pixel_f1_max=float((2 * tp / (tp + fp + tp[-1])).max()),
            aupro_30=_area(fp / fp[-1], overlap / self.regions, 0.3),
            aupro_05=_area(fp / fp[-1], overlap / self.regions, 0.05),
        )

    def aupro(self, limit: float) -> float:
        """Area under the per-region overlap curve up to a false positive rate of `limit`, divided by it."""
        fp, overlap = _cumulated(self.good), _cumulated(self.overlap)
        return _area(fp / fp[-1], overlap / self.regions, limit) if fp[-1] and self.regions else float("nan")


@dataclass(frozen=True)
class Explanation:
    """How well one map explains one defective image.

    Attributes:
        hit: The map's highest pixel is defective (pointing game); among equal ones the first counts.
        mass: Share of the map's positive values that lies on defective pixels; NaN if none is positive.
    """

    hit: bool
    mass: float


def explain(anomaly_map: Map, mask: Mask) -> Explanation:
    """Pointing game and relevance mass of one map against a mask of the same shape."""
    positive = np.maximum(anomaly_map.astype(np.float64), 0)
    total = positive.sum()
    return Explanation(
        bool(mask.flat[int(anomaly_map.argmax())]), float(positive[mask].sum() / total) if total else float("nan")
    )


def _cumulated(bins: Bins) -> Bins:
    """Sums over all values at least as high, from the highest value down, one entry per distinct value."""
    sums: Bins = np.cumsum(_descending(bins))
    return sums


def _descending(bins: Bins) -> Bins:
    return np.add.reduceat(bins[_DESCENDING], _STARTS)


def _area(fpr: Bins, overlap: Bins, limit: float) -> float:
    """Trapezoidal area of a curve from (0, 0) up to x = limit, interpolated there, divided by the limit."""
    x, y = np.r_[0, fpr], np.minimum(np.r_[0, overlap], 1)
    end = int(np.searchsorted(x, limit, "right"))
    at_limit = np.interp(limit, x[end - 1 : end + 1], y[end - 1 : end + 1])
    return float(np.trapezoid(np.r_[y[:end], at_limit], np.r_[x[:end], limit]) / limit)
