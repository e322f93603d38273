"""Simple statistics of an image, which show that light, focus or camera have changed; and quantiles to compare with."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

STATISTICS = ("brightness", "contrast", "sharpness", "width", "height")
"""What `image_statistics` measures: grey levels (0 to 255) for the first three, pixels for the other two."""
_MOST = 201
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luminance of Rec. 601."""


def image_statistics(image: NDArray[np.uint8]) -> dict[str, float]:
    """Mean and standard deviation of the grey levels, their mean step between neighbours, and the size.

    Args:
        image: RGB, height x width x 3.
    """
    grey = image.astype(np.float32) @ _GREY
    steps = [float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in (0, 1) if grey.shape[axis] > 1]
    values = (float(grey.mean()), float(grey.std()), sum(steps) / max(1, len(steps)), image.shape[1], image.shape[0])
    return {name: float(value) for name, value in zip(STATISTICS, values, strict=True)}


def quantiles(values: ArrayLike) -> tuple[float, ...]:
    """All values in order where they are at most 201, else so many of their quantiles, from 0 to 1."""
    ordered = np.sort(np.asarray(values, np.float64))
    found = ordered if ordered.size <= _MOST else np.quantile(ordered, np.linspace(0, 1, _MOST))
    return tuple(float(value) for value in found)
