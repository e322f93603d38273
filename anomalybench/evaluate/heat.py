"""What heat maps share: one display range over a whole job, and the boxes that are drawn on them.

The range holds 99.8 % of the calibration maps' values, so that colours can be compared between images and no single
extreme value takes all colours for itself. Nothing is scaled per image; what lies beyond the range is counted.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from anomalybench.evaluate import boxes
from anomalybench.evaluate.boxes import Box

_CUT = 0.001
"""Share of the values below the darkest and above the brightest colour."""
_SAMPLE = 1_000_000
COLOURS = "inferno"
_BOX = np.array([0, 229, 255], np.uint8)
RANGE = "0.1 % to 99.9 % quantile of the calibration maps"


def display_range(maps: NDArray[np.float32], calibration: NDArray[np.bool_]) -> tuple[float, float]:
    """Values of the darkest and the brightest colour.

    Args:
        maps: n x height x width.
        calibration: Which of the n belong to the calibration part; without any, all maps count.
    """
    chosen = (maps[calibration] if calibration.any() else maps).reshape(-1)
    values = chosen[:: max(1, chosen.size // _SAMPLE)].astype(np.float64)
    low, high = map(float, np.quantile(values, [_CUT, 1 - _CUT]))
    if high <= low:  # nearly all values alike: what differs is what there is to see
        low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1


def beyond(anomaly_map: NDArray[np.float32], limits: tuple[float, float]) -> int:
    """How many values of a map lie outside the display range."""
    return int(((anomaly_map < limits[0]) | (anomaly_map > limits[1])).sum())


def predicted_boxes(anomaly_map: NDArray[np.float32]) -> list[Box]:
    """Boxes around what a map marks, without specks of less than a 2,000th of the image."""
    return boxes.components(anomaly_map, min_area=max(1, anomaly_map.size // 2000))


def overlay(
    image: NDArray[np.uint8], anomaly_map: NDArray[np.float32], limits: tuple[float, float]
) -> NDArray[np.uint8]:
    """Equal blend of an image and its coloured map of the same height and width.

    Args:
        image: RGB, height x width x 3.
        anomaly_map: height x width.
        limits: Values of the darkest and the brightest colour; what lies beyond is clipped.
    """
    import matplotlib as mpl  # here, since a service that shows no colours has no need of it

    low, high = limits
    scaled = np.clip((anomaly_map.astype(np.float32) - low) / (high - low), 0, 1)
    colours = mpl.colormaps[COLOURS](scaled)[..., :3] * 255
    blend: NDArray[np.uint8] = np.rint((image + colours) / 2).astype(np.uint8)
    return blend


def with_boxes(image: NDArray[np.uint8], found: Iterable[Box]) -> NDArray[np.uint8]:
    """The image with the outlines of boxes, as wide as a 200th of its longer side."""
    drawn = image.copy()
    wide = max(1, max(image.shape[:2]) // 200)
    for box in found:
        for rows, columns in (
            (slice(box.top, box.top + wide), slice(box.left, box.right)),
            (slice(max(box.top, box.bottom - wide), box.bottom), slice(box.left, box.right)),
            (slice(box.top, box.bottom), slice(box.left, box.left + wide)),
            (slice(box.top, box.bottom), slice(max(box.left, box.right - wide), box.right)),
        ):
            drawn[rows, columns] = _BOX
    return drawn
