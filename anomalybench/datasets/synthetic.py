"""Procedural textures and objects with four kinds of defects and exact masks: no download, for tests and first steps.

Each image is drawn from a seed made of its own name, so it is the same whatever else is drawn. Files are drawn once,
into the cache folder (`ANOMALYBENCH_CACHE`). Results on them say nothing about real images.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from scipy import ndimage

from anomalybench.core import places
from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Dataset, Item, stable_hash

Picture = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

_VERSION = "1"
_SIDE = 128
_ROWS, _COLUMNS = np.mgrid[:_SIDE, :_SIDE].astype(float)


@dataclass(frozen=True, kw_only=True)
class Synthetic(Dataset):
    """Categories weave and grain (textures), disc and tablet (objects); defects scratch, spot, stain and hole."""

    source: ClassVar[str] = "drawn on the spot (Apache-2.0, like the project)"

    n_normal: Annotated[int, Field(ge=4, le=10000, description="normal images per category")] = 60
    n_anomalous: Annotated[int, Field(ge=0, le=10000, description="anomalous images per category")] = 40

    def root(self, data: Path | None) -> Path:
        """The cache folder; `data` plays no part."""
        return places.cache() / f"synthetic-{_VERSION}"

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`."""
        return sorted(_PRODUCTS)

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`; draws what is not there yet. The first 60 % of the normal images are its train part."""
        items = []
        for i in range(self.n_normal):
            path = f"{category}/good/{i:04d}.png"
            _draw(root, path, None)
            split = "train" if i < 0.6 * self.n_normal else "test"
            items.append(Item(path, category, NORMAL, GOOD, split=split))
        kinds = sorted(_DEFECTS)
        for i in range(self.n_anomalous):
            kind = kinds[i % len(kinds)]
            path, mask = f"{category}/{kind}/{i:04d}.png", f"{category}/masks/{kind}/{i:04d}.png"
            _draw(root, path, mask)
            items.append(Item(path, category, ANOMALOUS, kind, mask=mask, split="test"))
        return items


def _draw(root: Path, path: str, mask: str | None) -> None:
    if (root / path).exists() and (mask is None or (root / mask).exists()):
        return
    category, kind, _ = path.split("/")
    rng = np.random.default_rng(stable_hash(f"{_VERSION}/{path}"))
    picture, part = _PRODUCTS[category](rng)
    if mask is not None:
        picture, defect = _DEFECTS[kind](picture, part, rng)
        _save(root / mask, defect.astype(np.uint8) * 255)
    noisy = picture + rng.normal(0, 0.012, picture.shape)
    _save(root / path, (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8))


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write aside and rename: several processes may draw the same file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as stream:
        Image.fromarray(pixels).save(stream, format="PNG")
    Path(aside).replace(path)


def _weave(rng: Rng) -> tuple[Picture, Mask]:
    """Two crossing thread systems, seen at a slightly varying angle."""
    angle, phase = rng.normal(0, 0.04), rng.uniform(0, 2 * np.pi, 2)
    u = _COLUMNS * np.cos(angle) + _ROWS * np.sin(angle)
    v = -_COLUMNS * np.sin(angle) + _ROWS * np.cos(angle)
    threads = 0.5 + 0.13 * np.sin(u * 0.7 + phase[0]) + 0.13 * np.sin(v * 0.7 + phase[1])
    colour = np.array([0.95, 0.9, 0.75]) * rng.uniform(0.92, 1.08)
    return threads[..., None] * colour, np.ones((_SIDE, _SIDE), bool)


def _grain(rng: Rng) -> tuple[Picture, Mask]:
    """Wood-like stripes bent by smooth noise."""
    bend = ndimage.gaussian_filter(rng.normal(0, 1, (_SIDE, _SIDE)), 14) * 60
    stripes = 0.5 + 0.1 * np.sin(_COLUMNS * 0.35 + bend + rng.uniform(0, 6.3))
    fine = ndimage.gaussian_filter(rng.normal(0, 1, (_SIDE, _SIDE)), (6, 0.7)) * 0.09
    return (stripes + fine)[..., None] * np.array([1.0, 0.75, 0.5]), np.ones((_SIDE, _SIDE), bool)


def _disc(rng: Rng) -> tuple[Picture, Mask]:
    """A turned metal ring on a dark ground."""
    centre = _SIDE / 2 + rng.normal(0, 1.5, 2)
    distance = np.hypot(_ROWS - centre[0], _COLUMNS - centre[1])
    part = (distance < 50) & (distance > 16)
    shine = 0.6 + 0.12 * np.sin(distance * 1.1) + 0.1 * np.cos(np.arctan2(_ROWS - centre[0], _COLUMNS - centre[1]) * 2)
    grey = np.where(part, shine * rng.uniform(0.95, 1.05), 0.12)
    return grey[..., None] * np.array([0.95, 0.97, 1.0]), part


def _tablet(rng: Rng) -> tuple[Picture, Mask]:
    """A pale oblong pill with a score line on a blue ground."""
    centre, angle = _SIDE / 2 + rng.normal(0, 2, 2), rng.normal(0, 0.1)
    u = (_COLUMNS - centre[1]) * np.cos(angle) + (_ROWS - centre[0]) * np.sin(angle)
    v = -(_COLUMNS - centre[1]) * np.sin(angle) + (_ROWS - centre[0]) * np.cos(angle)
    radius = (np.abs(u) / 50) ** 2.5 + (np.abs(v) / 32) ** 2.5
    part = radius < 1
    height = np.where(part, 0.86 - 0.15 * radius - 0.2 * (np.abs(u) < 2), 0)
    ground = np.array([0.2, 0.3, 0.45]) * rng.uniform(0.95, 1.05)
    return np.where(part[..., None], height[..., None] * np.array([1.0, 0.97, 0.88]), ground), part


def _scratch(picture: Picture, part: Mask, rng: Rng) -> tuple[Picture, Mask]:
    """A thin bright line."""
    row, column = _place(part, rng)
    angle, length = rng.uniform(0, np.pi), rng.uniform(18, 34)
    along = (_COLUMNS - column) * np.cos(angle) + (_ROWS - row) * np.sin(angle)
    across = -(_COLUMNS - column) * np.sin(angle) + (_ROWS - row) * np.cos(angle) + 2 * np.sin(along / 9)
    mask = (np.abs(along) < length) & (np.abs(across) < 1.6) & part
    return _paint(picture, mask, picture + 0.35), mask


def _spot(picture: Picture, part: Mask, rng: Rng) -> tuple[Picture, Mask]:
    """A dark dot."""
    mask = _blob(part, rng, rng.uniform(5, 9))
    return _paint(picture, mask, picture * 0.25), mask


def _stain(picture: Picture, part: Mask, rng: Rng) -> tuple[Picture, Mask]:
    """A larger area of another tint."""
    mask = _blob(part, rng, rng.uniform(11, 17))
    tint = np.array([[0.55, 0.9, 0.6], [1.0, 0.6, 0.5], [0.7, 0.7, 1.2]])[rng.integers(3)]
    return _paint(picture, mask, picture * tint), mask


def _hole(picture: Picture, part: Mask, rng: Rng) -> tuple[Picture, Mask]:
    """A missing piece with a bright rim."""
    mask = _blob(part, rng, rng.uniform(7, 12))
    rim = mask & ~ndimage.binary_erosion(mask, iterations=2)
    return _paint(_paint(picture, mask, np.full_like(picture, 0.04)), rim, np.full_like(picture, 0.85)), mask


def _place(part: Mask, rng: Rng) -> tuple[float, float]:
    inner = np.argwhere(ndimage.binary_erosion(part, iterations=8, border_value=0))
    row, column = inner[rng.integers(len(inner))]
    return float(row), float(column)


def _blob(part: Mask, rng: Rng, radius: float) -> Mask:
    row, column = _place(part, rng)
    angle = np.arctan2(_ROWS - row, _COLUMNS - column)
    edge = radius * (1 + 0.2 * np.sin(3 * angle + rng.uniform(0, 6.3)) + 0.1 * np.sin(5 * angle + rng.uniform(0, 6.3)))
    inside: Mask = (np.hypot(_ROWS - row, _COLUMNS - column) < edge) & part
    return inside


def _paint(picture: Picture, mask: Mask, colour: Picture) -> Picture:
    return np.where(mask[..., None], colour, picture)


_PRODUCTS: dict[str, Callable[[Rng], tuple[Picture, Mask]]] = {
    "weave": _weave,
    "grain": _grain,
    "disc": _disc,
    "tablet": _tablet,
}
_DEFECTS: dict[str, Callable[[Picture, Mask, Rng], tuple[Picture, Mask]]] = {
    "scratch": _scratch,
    "spot": _spot,
    "stain": _stain,
    "hole": _hole,
}
