"""Simple statistics of an image, which show that light, focus or camera have changed; and quantiles to compare with."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

STATISTICS = ("brightness", "contrast", "sharpness", "width", "height")
"""What `image_statistics` measures: grey levels (0 to 255) for the first three, pixels for the other two."""
_MOST = 201
_BAND = 2**18
"""Pixels that are worked on at once, 16 bytes each."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luminance of Rec. 601."""


def image_statistics(image: NDArray[np.uint8]) -> dict[str, float]:
    """Mean and standard deviation of the grey levels, their mean step between neighbours, and the size.

    It is computed in bands of a quarter of a megapixel, which take some MB whatever the size of the image.

    Args:
        image: RGB, height x width x 3.
    """
    height, width = image.shape[:2]
    bands = list(_bands(image if width <= _BAND else image.swapaxes(0, 1)))
    n = height * width
    mean = sum(band.n * band.mean for band in bands) / n
    variance = sum(band.n * (band.deviation**2 + (band.mean - mean) ** 2) for band in bands) / n
    counts = ((height - 1) * width, height * (width - 1))
    sums = (sum(band.down for band in bands), sum(band.across for band in bands))
    if width > _BAND:
        sums = sums[::-1]
    steps = [total / count for total, count in zip(sums, counts, strict=True) if count]
    values = (mean, variance**0.5, sum(steps) / max(1, len(steps)), width, height)
    return {name: float(value) for name, value in zip(STATISTICS, values, strict=True)}


class _Band(NamedTuple):
    """Some rows of an image: mean and standard deviation of their grey levels, and sums of the steps from them."""

    n: int
    mean: float
    deviation: float
    down: float
    across: float


def _bands(image: NDArray[np.uint8]) -> Iterator[_Band]:
    rows = max(1, _BAND // image.shape[1])
    for top in range(0, image.shape[0], rows):
        grey = image[top : top + rows + 1].astype(np.float32) @ _GREY  # with the row below, for the steps to it
        own = grey[:rows]
        down, across = (float(np.abs(np.diff(a, axis=i)).sum()) for i, a in enumerate((grey, own)))
        yield _Band(own.size, float(own.mean()), float(own.std()), down, across)


def quantiles(values: ArrayLike) -> tuple[float, ...]:
    """All values in order where they are at most 201, else so many of their quantiles, from 0 to 1."""
    ordered = np.sort(np.asarray(values, np.float64))
    found = ordered if ordered.size <= _MOST else np.quantile(ordered, np.linspace(0, 1, _MOST))
    return tuple(float(value) for value in found)
