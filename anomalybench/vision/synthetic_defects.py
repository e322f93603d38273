"""Synthetic defects that turn a normal image into an anomalous one: confetti in two recipes.

`official` is what the FCDD authors paint on MVTec images; `mathworks` is the pill example's. Sizes are pixels of the
image given; the official recipe works on 240 px.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import convolve1d

Confetti = Literal["official", "mathworks"]
Layer = NDArray[np.float32]

_SIDES = (8, 54)
_COLOURED_RATE = 1.8e-5
_SOLID_RATE = 1.2e-5


def official(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Coloured and dark squares, blurred and added to the image (Liznerski et al. 2021, confetti noise).

    Each layer has at least one square; the number follows a rate per pixel. Where darkening would hardly show (a mean
    change under .025 grey levels) and brightening would show more, the noise is inverted.

    Args:
        image: RGB, height x width x 3.
        rng: Source of everything random.
    """
    shape = image.shape[:2]
    colours: dict[int, NDArray[np.int64]] = {}

    def coloured(side: int) -> tuple[int, int, int]:
        return tuple(colours.setdefault(side, rng.integers(-256, 0, 3)))

    noise = _squares(shape, _COLOURED_RATE, coloured, rng) + _squares(shape, _SOLID_RATE, lambda _: (-255,) * 3, rng)
    noise = np.trunc(_blur(noise))
    painted = _add(image, noise)
    if abs(float((painted - image).mean())) < 0.025:
        inverted = _add(image, -noise)
        if abs(float((inverted - image).mean())) > abs(float((painted - image).mean())):
            painted = inverted
    return painted.astype(np.uint8)


def mathworks(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One to 15 rotated rectangles of 5 to 20 px, each of one random colour, blended in at 40 % (pillQC example)."""
    height, width = image.shape[:2]
    canvas = image.astype(np.float32)
    for _ in range(rng.integers(1, 16)):
        centre = rng.uniform((0, 0), (width, height))
        mask = _rectangle((height, width), centre, rng.uniform(5, 20, 2), rng.uniform(0, 180))
        canvas[mask] = 0.6 * canvas[mask] + 0.4 * rng.uniform(0, 255, 3)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


PAINTERS: dict[Confetti, Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]] = {
    "official": official,
    "mathworks": mathworks,
}


def _squares(
    shape: tuple[int, ...], rate: float, colour: Callable[[int], tuple[int, int, int]], rng: np.random.Generator
) -> Layer:
    height, width = shape
    layer = np.zeros((height, width, 3), np.float32)
    count = 0
    while count == 0:
        count = int(rng.binomial(height * width, rate))
    for _ in range(count):
        side = int(rng.integers(_SIDES[0], _SIDES[1] + 1))
        centre = rng.uniform((0, 0), (width, height))
        layer[_rectangle(shape, centre, np.array([side, side]), rng.uniform(-45, 45))] = colour(side)
    return layer


def _rectangle(
    shape: tuple[int, ...], centre: NDArray[np.float64], sides: NDArray[np.floating], degrees: float
) -> NDArray[np.bool_]:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = centre + (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * sides / 2) @ turn.T
    canvas = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in corners], fill=1)
    return np.asarray(canvas)


def _blur(layer: Layer, sigma: float = 5.0, size: int = 25) -> Layer:
    """Gaussian blur with a kernel of `size` pixels, one pass per axis, zeros beyond the border."""
    offsets = np.arange(size) - size // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        layer = convolve1d(layer, kernel, axis=axis, mode="constant")
    return layer


def _add(image: NDArray[np.uint8], noise: Layer) -> NDArray[np.float64]:
    return np.clip(image.astype(np.float64) + noise, 0, 255)
