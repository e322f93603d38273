"""What heat maps share: one display range over a whole job, and the boxes that are drawn on them.

The range goes from the least to the greatest value of the calibration maps, as in the MathWorks pill example, so that
colours can be compared between images. Nothing is scaled per image.
"""

import numpy as np
from numpy.typing import NDArray

from anomalybench.evaluate import boxes
from anomalybench.evaluate.boxes import Box


def display_range(maps: NDArray[np.float16], calibration: NDArray[np.bool_]) -> tuple[float, float]:
    """Values of the darkest and the brightest colour.

    Args:
        maps: n x height x width.
        calibration: Which of the n belong to the calibration part; without any, all maps count.
    """
    chosen = maps[calibration] if calibration.any() else maps
    low, high = float(chosen.min()), float(chosen.max())
    return low, high if high > low else low + 1


def found_boxes(anomaly_map: NDArray[np.float16]) -> list[Box]:
    """Boxes around what a map marks, without specks of less than a 2,000th of the image."""
    return boxes.components(anomaly_map, min_area=max(1, anomaly_map.size // 2000))
