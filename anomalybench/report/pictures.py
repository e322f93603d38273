"""Pictures for the page: each image once however many methods saw it, as WebP; maps small, and coloured by the page.

How much is kept is bounded per category, whatever the size of the data: see `Limits`.
"""

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from anomalybench.core.errors import DataError
from anomalybench.evaluate import heat
from anomalybench.evaluate.pixel import resize_map
from anomalybench.report import image_files
from anomalybench.report.image_files import Place
from anomalybench.vision.images import read_mask, read_rgb

_THUMB, _LARGE, _MAP = 112, 448, 64
"""Longest sides in pixels."""
_LARGE_IN_ALL = 80
_THUMBS_PER_LARGE = 5
_OUTLINE = (0, 229, 255, 255)
_SCALE = 1000
"""Boxes are told in thousandths of the image's sides."""


class Source(NamedTuple):
    """A test image and what is known of it."""

    where: Place
    path: str
    mask: str | None
    label: int
    defect: str
    bits: int = 16


@dataclass(frozen=True)
class Limits:
    """How many of a category's test images are on the page.

    Attributes:
        large: With a large view, its heat maps and its mask.
        thumbs: As a small picture.
    """

    large: int
    thumbs: int

    @classmethod
    def sharing(cls, max_images: int | None, n_categories: int) -> "Limits":
        """`max_images` large views per category; by default an even share of 80, and 4 at least."""
        large = max(4, _LARGE_IN_ALL // max(1, n_categories)) if max_images is None else max_images
        return cls(large, _THUMBS_PER_LARGE * large)


def most_telling(test: pd.DataFrame, threshold: float) -> list[int]:
    """Index labels of test images: what is judged wrongly first, then what is farthest from the threshold.

    Where none is defective, the most unusual come first: those with the highest scores.
    """
    if not test["label"].any():
        return list(test.sort_values(["score", "path"], ascending=[False, True]).index)
    wrong = (test["score"] > threshold) != (test["label"] == 1)
    keys = test.assign(right=~wrong, near=-(test["score"] - threshold).abs())
    return list(keys.sort_values(["right", "near", "path"]).index)


def in_turn(orders: Iterable[Sequence[Source]]) -> list[Source]:
    """The first of every order, then the second of every order, and so on; each source once."""
    listed = list(orders)
    longest = max(map(len, listed), default=0)
    return list(dict.fromkeys(order[i] for i in range(longest) for order in listed if i < len(order)))


def draw(sources: Mapping[Source, bool]) -> list[dict[str, Any]]:
    """Pictures of images, in their order: `thumb`, `size` and, where the value is true, `large` and `outline`.

    An image that cannot be read gives `missing`, the reason.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow decodes and encodes without the interpreter's lock
        return list(threads.map(_picture, sources, sources.values()))


def small_map(anomaly_map: NDArray[np.float32], limits: tuple[float, float]) -> dict[str, Any]:
    """A map in at most 64 x 64 bytes, 0 to 255 over the display range, base64; the page colours them.

    With it goes the number of values beyond the range, of `n` in all.
    """
    low, high = limits
    scaled = np.clip((anomaly_map.astype(np.float32) - low) / (high - low), 0, 1)
    image = Image.fromarray(np.rint(scaled * 255).astype(np.uint8))
    image.thumbnail((_MAP, _MAP), Image.Resampling.BOX)
    return {"size": image.size, "bytes": base64.b64encode(image.tobytes()).decode(),
            "beyond": heat.beyond(anomaly_map, limits), "n": anomaly_map.size}  # fmt: skip


def boxes(anomaly_map: NDArray[np.float32], size: tuple[int, int]) -> list[list[int]]:
    """Found boxes (left, top, right, bottom) in thousandths of an image of that width and height."""
    width, height = _fitting(size, _LARGE)
    found = heat.predicted_boxes(resize_map(anomaly_map, (width, height)))
    return [
        [round(_SCALE * x) for x in (b.left / width, b.top / height, b.right / width, b.bottom / height)] for b in found
    ]


def _picture(source: Source, large: bool) -> dict[str, Any]:
    try:
        image = Image.fromarray(read_rgb(image_files.locate(source.where, source.path), source.bits))
        found: dict[str, Any] = {"size": image.size, "thumb": _webp(_shrunk(image, _THUMB), quality=60)}
        if large:
            found["large"] = _webp(_shrunk(image, _LARGE), quality=75)
    except DataError as error:
        return {"missing": str(error)}
    try:
        if large and source.mask:
            found["outline"] = _outline(read_mask(image_files.locate(source.where, source.mask)), image.size)
    except DataError as error:
        found["missing"] = f"its mask cannot be read: {error}"
    return found


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> str:
    """A transparent picture of the size of the large view with a line around what the mask marks."""
    inside = np.asarray(Image.fromarray(mask).resize(_fitting(size, _LARGE), Image.Resampling.NEAREST))
    line = ndimage.binary_dilation(inside, iterations=2) & ~inside
    pixels = np.zeros((*line.shape, 4), np.uint8)
    pixels[line] = _OUTLINE
    return _webp(Image.fromarray(pixels), lossless=True)


def _fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _shrunk(image: Image.Image, longest: int) -> Image.Image:
    return image.resize(_fitting(image.size, longest), Image.Resampling.BICUBIC, reducing_gap=2)


def _webp(image: Image.Image, **options: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, "WEBP", method=2, **options)
    return base64.b64encode(stream.getvalue()).decode()
