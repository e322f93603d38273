"""Pixel metrics of anomaly maps, in memory that does not grow with the number of pixels.

Good and defective pixels are counted in the bins of `map_codes.counting_edges`. Each metric is one function of the
curves that the counts make, and `catalogue.METRICS` has a row for it. The functions work along the last axis, so that
they serve for the exact counts and for 2,000 resamples alike.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Bins = NDArray[np.float64]

EIGHT_CONNECTED = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Curves:
    """Sums over all pixels at least as high as a value, for each value from the highest down along the last axis.

    Attributes:
        good: Defect-free pixels.
        bad: Defective pixels.
        overlap: Regions found: each has weight 1, shared by its pixels.
        regions: Number of regions in all; one number less in shape than the others.
    """

    good: Bins
    bad: Bins
    overlap: Bins
    regions: Bins

    @property
    def fpr(self) -> Bins:
        """False positive rate."""
        return self.good / self.good[..., -1:]

    @property
    def recall(self) -> Bins:
        """Share of defective pixels found."""
        return self.bad / self.bad[..., -1:]

    @property
    def per_region_overlap(self) -> Bins:
        """Mean over regions of the share that is found."""
        found: Bins = np.minimum(self.overlap / self.regions[..., None], 1)
        return found


PixelFunction = Callable[[Curves], Bins]


def auroc(curves: Curves) -> Bins:
    """Area under the ROC curve of all pixels pooled."""
    return _area(curves.fpr, curves.recall, 1.0)


def average_precision(curves: Curves) -> Bins:
    """Average precision (step-wise) of all pixels pooled."""
    precision = curves.bad / np.maximum(curves.bad + curves.good, 1e-9)
    found: Bins = (precision * np.diff(curves.bad, prepend=0)).sum(-1) / curves.bad[..., -1]
    return found


def f1_max(curves: Curves) -> Bins:
    """The best F1 of any threshold on these very pixels: an oracle."""
    best: Bins = (2 * curves.bad / (curves.bad + curves.good + curves.bad[..., -1:])).max(-1)
    return best


def aupro(curves: Curves, limit: float) -> Bins:
    """Area under the per-region overlap curve up to a false positive rate of `limit`, divided by it."""
    return _area(curves.fpr, curves.per_region_overlap, limit)


def aupro_30(curves: Curves) -> Bins:
    """AU-PRO up to a false positive rate of .3."""
    return aupro(curves, 0.3)


def aupro_05(curves: Curves) -> Bins:
    """AU-PRO up to a false positive rate of .05."""
    return aupro(curves, 0.05)


@dataclass
class PixelCounts:
    """Running counts per bin: feed it one image after the other.

    Attributes:
        edges: Lower ends of the k bins, ascending, from `map_codes.counting_edges`; lower values count in the first.
        good: Defect-free pixels per bin.
        bad: Defective pixels per bin.
        overlap: Summed weight of regions per bin: each region has weight 1, shared by its pixels.
        regions: Number of regions.
    """

    edges: Map
    good: Bins = field(init=False)
    bad: Bins = field(init=False)
    overlap: Bins = field(init=False)
    regions: int = 0

    def __post_init__(self) -> None:
        self.good, self.bad, self.overlap = np.zeros((3, self.edges.size))

    def add(self, anomaly_map: Map, mask: Mask | None) -> None:
        """Count one image; the regions are the mask's 8-connected components.

        Args:
            anomaly_map: height x width, finite.
            mask: height x width, True where defective; None or all False for a good image.

        Raises:
            ValueError: Shapes differ, or a value is NaN or infinite.
        """
        from scipy import ndimage

        self._count(anomaly_map, mask)
        if mask is None or not mask.any():
            return
        labels, n = ndimage.label(mask, structure=EIGHT_CONNECTED)
        inside = labels[mask]
        areas = np.bincount(inside, minlength=n + 1)
        self.overlap += self._histogram(anomaly_map[mask], 1 / areas[inside])
        self.regions += n

    def add_saturated(self, anomaly_map: Map, regions: Iterable[tuple[Mask, float]]) -> None:
        """Count one image for sPRO (MVTec LOCO): each region is (mask, saturation area in pixels).

        A region's overlap grows with its highest pixels until `saturation` of them are found, and is 1 from there on.
        """
        listed = list(regions)
        union = np.zeros(anomaly_map.shape, bool)
        for mask, _ in listed:
            union |= mask
        self._count(anomaly_map, union)
        for mask, saturation in listed:
            found = self._histogram(anomaly_map[mask])[::-1]
            reached = np.minimum(np.cumsum(found) / saturation, 1)
            self.overlap += np.diff(reached, prepend=0)[::-1]
        self.regions += len(listed)

    def __iadd__(self, other: "PixelCounts") -> "PixelCounts":
        self.good += other.good
        self.bad += other.bad
        self.overlap += other.overlap
        self.regions += other.regions
        return self

    @property
    def complete(self) -> bool:
        """Whether there are both good and defective pixels: without, no metric is defined."""
        return bool(self.good.any() and self.bad.any())

    def curves(self) -> Curves:
        """What the metrics are functions of."""
        good, bad, overlap = (np.cumsum(bins[::-1]) for bins in (self.good, self.bad, self.overlap))
        return Curves(good, bad, overlap, np.array(self.regions, np.float64))

    def _count(self, anomaly_map: Map, mask: Mask | None) -> None:
        if mask is not None and mask.shape != anomaly_map.shape:
            raise ValueError(f"the mask is {mask.shape}, the map {anomaly_map.shape}")
        if not np.isfinite(anomaly_map).all():
            raise ValueError("the map holds NaN or infinite values")
        counts = self._histogram(anomaly_map.ravel())
        bad = np.zeros(1) if mask is None else self._histogram(anomaly_map[mask])
        self.bad += bad
        self.good += counts - bad

    def _histogram(self, values: Map, weight: Bins | None = None) -> Bins:
        """Number, or summed weight, of the values in each bin."""
        if weight is None:
            values, sums = np.sort(values), np.arange(values.size + 1, dtype=np.float64)
        else:
            order = np.argsort(values)
            values, sums = values[order], np.r_[0, np.cumsum(weight[order])]
        starts = np.searchsorted(values, self.edges)
        starts[0] = 0
        return np.diff(sums[np.r_[starts, values.size]])


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


def resize_map(anomaly_map: Map, size: tuple[int, int]) -> Map:
    """Bring a map to (width, height) bilinearly, cell centres on cell centres as torch and OpenCV do.

    Between two equal values lies that value exactly, so that what is tied stays tied.
    """
    width, height = size
    values = anomaly_map.astype(np.float32)
    if values.shape == (height, width):
        return values
    rows, columns = _weights(values.shape[0], height), _weights(values.shape[1], width)
    tall = values[rows[0]] + (values[rows[1]] - values[rows[0]]) * rows[2][:, None]
    full: Map = tall[:, columns[0]] + (tall[:, columns[1]] - tall[:, columns[0]]) * columns[2]
    return full


def _weights(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Lower neighbour, upper neighbour and the upper one's weight for each new cell."""
    place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, before - 1), (place - low).astype(np.float32)


def _area(x: Bins, y: Bins, limit: float) -> Bins:
    """Trapezoidal area under curves from (0, 0) up to x = limit, interpolated there, divided by the limit."""
    x0, y0 = np.zeros_like(x), np.zeros_like(y)
    x0[..., 1:], y0[..., 1:] = x[..., :-1], y[..., :-1]
    inside = np.clip(limit - x0, 0, x - x0)
    slope = np.divide(y - y0, x - x0, where=x > x0, out=np.zeros_like(x))
    area: Bins = (inside * (y0 + slope * inside / 2)).sum(-1) / limit
    return area
