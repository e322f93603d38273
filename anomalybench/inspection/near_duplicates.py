"""Near duplicates among the images of one category: altered copies, and one object shot several times.

Neither a perceptual hash nor the cosine of pooled backbone features tells these from look-alikes. Measured with copies
made of real images (re-encoded, resized to 50 and 90 %, brightness and contrast +-10 %, shifted by 2 %, cropped by 3 %
a side) and simulated new shots (rotated by 1 to 3 degrees, moved by 1.5 %, another light, noise): two different MVTec
AD transistors have as little as 4 of 63 hash bits between them, two shots of one up to 18; the cosine of
EfficientNet-Lite0 features is up to 0.97 for two transistors, and down to 0.87 for two shots of one. So hashes only
propose pairs, no network is needed, and two comparisons decide, each relative to what is usual in the category:

- copy: cells of both images are correlated in place, without alignment. It finds what kept its geometry.
- shot: patches of fine detail (a band-pass at 192 x 192) are sought in the other image, at most 16 pixels away, to a
  fraction of a pixel. A good match counts only if at least half of the patches beside it moved the same way, give or
  take two pixels, which leaves room for rotation and scale.

Correlations are compared with those that the same patch has with the 24 images most like it, as robust z-scores: a
solder joint that all transistors share says nothing, a speck does. The median of 24 bears eleven more shots of the same
object. Correlations above 0.96 count as 0.96 in `shot`, because beyond that sampling decides and not the object. A pair
is a copy from a mean score of 4.5 on. It is a shot where its score lies four times as far above the category's median
as the lowest tenth lies below it, and at least 0.5: duplicates only ever lengthen the upper tail.

Measured in multiples of the limit, with 60 to 150 real images and eight objects of each shot five times more: hazelnut
at most 0.1 between different objects, all shots linked (1.9 and more) and all copies (6 and more). Cookies: all linked
(4 and more); five further pairs turned out to be the same cookie, three of them before and after it broke. Transistor:
0.9 for the two most alike (1.0 to 1.5 if all images lose their outer 6 %: the one false alarm seen), all shots linked
(1.1 and more; 1.7 in the median), 14 of 16 crops, all other copies (1.3 and more). Polycrystalline cells: half of the
shots, shifts and crops, all other copies; what it finds besides are wafers cut next to each other, and cells measured
twice. Where objects have no individual detail (monocrystalline cells, drawn discs and weaves) there is no false alarm,
and copies are found unless coarsely re-encoded, but hardly any new shot. Not found either: an object that moves on a
textured background that does not, unless it fills most of the image; movement by more than 8 %; mirrored images and
quarter turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

Thumbnail = NDArray[np.uint8]
Floats = NDArray[np.float32]

FEWEST = 12
"""With fewer images there is nothing to compare a pair with: only copies that are all but equal are found."""

_SIDE, _PATCH, _REACH, _GRID = 192, 32, 16, 6
_WINDOW, _SHIFTS = _PATCH + 2 * _REACH, 2 * _REACH + 1
_CELL = 16
_NEIGHBOURS, _PAIRS = 24, 12_000
_COPY_LIMIT, _SHOT_LIMIT, _TAILS, _ALL_BUT_EQUAL = 4.5, 0.5, 4.0, 0.9995
_NOISE = 1.5
"""Contrast in grey levels below which a patch is called flat."""


@dataclass(frozen=True)
class Pair:
    """Two images that are too alike.

    Attributes:
        first: Index of one image.
        second: Index of the other; larger than `first`.
        kind: An altered `copy`, or another `shot` of the same object.
        score: How far they stand out from the category's other images, in multiples of the limit (1 or more).
    """

    first: int
    second: int
    kind: Literal["copy", "shot"]
    score: float


@dataclass(frozen=True)
class _Matches:
    """What `_match` measures between each of n images and its k candidates.

    Attributes:
        others: Indices of the candidates: n x k.
        shot: Best correlation of each patch: n x k x 36.
        trusted: Whether the patches beside it moved likewise: n x k x 36.
        copy: Correlation of each cell in place: n x k x 16.
    """

    others: NDArray[np.intp]
    shot: Floats
    trusted: NDArray[np.bool_]
    copy: Floats


def thumbnail(image: NDArray[np.uint8]) -> Thumbnail:
    """The image (height x width x 3) as `find` wants it: grey, 192 x 192, aspect not kept."""
    grey = Image.fromarray(image).convert("L")
    smaller = min(grey.size) >= _SIDE
    return np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR))


def find(thumbnails: Sequence[Thumbnail]) -> list[Pair]:
    """All pairs that are near duplicates, in order; images that are equal should be passed only once."""
    n = len(thumbnails)
    if n < 2:
        return []
    matches = _match(thumbnails, candidates(thumbnails, min(n - 1, max(_NEIGHBOURS, _PAIRS // n))))
    if n < FEWEST:
        copies = _both_ways(matches.others, matches.copy.mean(2) / _ALL_BUT_EQUAL)
        return [Pair(*pair, "copy", score) for pair, score in sorted(copies.items()) if score >= 1]
    copies = _both_ways(matches.others, _standing_out(matches.copy, 0.99999, 0.05, 12).mean(2))
    detail = _standing_out(matches.shot, 0.96, 0.1, 4)
    shots = _both_ways(matches.others, np.where(matches.trusted, detail, np.minimum(detail, 0)).mean(2))
    low, middle = np.quantile(list(shots.values()), (0.1, 0.5))
    limit = max(_SHOT_LIMIT, middle + _TAILS * (middle - low))
    found = []
    for pair in sorted(shots):
        copy, shot = copies[pair] / _COPY_LIMIT, shots[pair] / limit
        if max(copy, shot) >= 1:
            found.append(Pair(*pair, "copy" if copy >= 1 else "shot", float(max(copy, shot))))
    return found


def perceptual_hash(thumb: Thumbnail) -> Floats:
    """The lowest 16 x 16 frequencies but the constant: a perceptual hash before its bits are cut; 255 values."""
    small = np.asarray(Image.fromarray(thumb).resize((32, 32), Image.Resampling.BOX), np.float32)
    lowest: Floats = fft.dctn(small, norm="ortho")[:16, :16].ravel()[1:]
    return lowest


def candidates(thumbnails: Sequence[Thumbnail], k: int) -> NDArray[np.intp]:
    """The k images with the most similar hashes, nearest first: n x k; memory grows with n, not with its square.

    What all images have in common is taken off first, else aligned objects are all each other's neighbours.
    """
    hashes = _unit(np.stack([perceptual_hash(thumb) for thumb in thumbnails]))
    hashes = _unit(hashes - hashes.mean(0))
    blocks = []
    for start in range(0, len(hashes), 512):
        similarity = hashes[start : start + 512] @ hashes.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        blocks.append(np.argsort(-similarity, axis=1, kind="stable")[:, :k])
    return np.concatenate(blocks)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    return unit


def _match(thumbnails: Sequence[Thumbnail], others: NDArray[np.intp]) -> _Matches:
    """Compare each image with its candidates."""
    n, k = others.shape
    cells = np.stack([_cells(thumb) for thumb in thumbnails])
    shot = np.empty((n, k, _GRID**2), np.float32)
    trusted = np.empty(shot.shape, bool)
    copy = np.empty((n, k, cells.shape[1]), np.float32)
    windows = lru_cache(128)(lambda j: _windows(_detail(thumbnails[j])))
    for i in range(n):
        copy[i] = np.einsum("cp,kcp->kc", cells[i], cells[others[i]])
        patches = _patches(_detail(thumbnails[i]))
        for j in range(k):
            spectra, contrast = windows(int(others[i, j]))
            correlation = fft.irfft2(patches * spectra, (_WINDOW, _WINDOW))[:, :_SHIFTS, :_SHIFTS] / contrast
            shot[i, j], trusted[i, j] = _peaks(correlation)
    return _Matches(others, shot, trusted, copy)


def _cells(thumb: Thumbnail) -> Floats:
    """A 4 x 4 grid of cells of 16 x 16 pixels, each with mean 0 and length 1: 16 x 256."""
    small = np.asarray(Image.fromarray(thumb).resize((4 * _CELL, 4 * _CELL), Image.Resampling.BOX), np.float32)
    cells = ndimage.gaussian_filter(small, 0.7).reshape(4, _CELL, 4, _CELL).transpose(0, 2, 1, 3).reshape(16, -1)
    cells -= cells.mean(1, keepdims=True)
    unit: Floats = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), _CELL * 0.5)
    return unit


def _detail(thumb: Thumbnail) -> Floats:
    grey = thumb.astype(np.float32)
    detail: Floats = ndimage.gaussian_filter(grey, 0.7) - ndimage.gaussian_filter(grey, 4)
    return detail


def _corners() -> list[tuple[int, int]]:
    steps = np.linspace(_REACH, _SIDE - _REACH - _PATCH, _GRID).round().astype(int)
    return [(int(y), int(x)) for y in steps for x in steps]


def _patches(detail: Floats) -> NDArray[np.complex64]:
    """Spectra of the patches, each with mean 0 and length 1: ready to be multiplied with those of the windows."""
    cut = np.stack([detail[y : y + _PATCH, x : x + _PATCH] for y, x in _corners()])
    cut -= cut.mean((1, 2), keepdims=True)
    length = np.maximum(np.sqrt((cut**2).sum((1, 2), keepdims=True)), _PATCH * _NOISE)
    spectra: NDArray[np.complex64] = np.conj(fft.rfft2(cut / length, (_WINDOW, _WINDOW)))
    return spectra


def _windows(detail: Floats) -> tuple[NDArray[np.complex64], Floats]:
    """Spectra of the windows in which the patches are sought, and the length of what lies under each shift."""
    cut = np.stack([detail[y - _REACH : y + _PATCH + _REACH, x - _REACH : x + _PATCH + _REACH] for y, x in _corners()])
    area = _PATCH**2
    variance = _box_sums(detail**2) - _box_sums(detail) ** 2 / area
    length = np.maximum(np.sqrt(np.maximum(variance, 0)), _PATCH * _NOISE).astype(np.float32)
    under = [length[y - _REACH : y + _REACH + 1, x - _REACH : x + _REACH + 1] for y, x in _corners()]
    return fft.rfft2(cut, (_WINDOW, _WINDOW)), np.stack(under)


def _box_sums(image: Floats) -> NDArray[np.float64]:
    total = np.pad(image.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums: NDArray[np.float64] = (
        total[_PATCH:, _PATCH:] - total[:-_PATCH, _PATCH:] - total[_PATCH:, :-_PATCH] + total[:-_PATCH, :-_PATCH]
    )
    return sums


def _peaks(correlation: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The best correlation of each patch, and whether the patches beside it were found in the same direction.

    Args:
        correlation: Patches x shifts x shifts.
    """
    m = np.arange(len(correlation))
    y, x = np.divmod(correlation.reshape(len(m), -1).argmax(1), _SHIFTS)
    best = correlation[m, y, x]
    inner_y, inner_x = np.clip(y, 1, _SHIFTS - 2), np.clip(x, 1, _SHIFTS - 2)
    gain = _parabola(correlation[m, inner_y - 1, x], best, correlation[m, inner_y + 1, x])
    gain += _parabola(correlation[m, y, inner_x - 1], best, correlation[m, y, inner_x + 1])
    value = best + np.where((y == inner_y) & (x == inner_x), gain, 0)
    return value, _together(np.stack([y, x], axis=1))


def _parabola(before: Floats, peak: Floats, after: Floats) -> Floats:
    """How far the parabola through three neighbours rises above the middle one."""
    bend = np.maximum(2 * peak - before - after, 1e-6)
    rise: Floats = np.minimum((after - before) ** 2 / (8 * bend), 0.05)
    return rise


def _together(moved: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether at least half of the patches beside a patch moved as it did, give or take two pixels."""
    grid = moved.reshape(_GRID, _GRID, 2)
    same, beside = np.zeros((2, _GRID, _GRID))
    down = np.abs(grid[1:] - grid[:-1]).max(-1) <= 2
    right = np.abs(grid[:, 1:] - grid[:, :-1]).max(-1) <= 2
    for part, agree in ((np.s_[1:], down), (np.s_[:-1], down), (np.s_[:, 1:], right), (np.s_[:, :-1], right)):
        same[part] += agree
        beside[part] += 1
    return (same >= beside / 2).ravel()


def _standing_out(correlation: Floats, highest: float, least_spread: float, most: float) -> Floats:
    """Robust z-scores of correlations (n x k x parts) against those with the 24 candidates most like the image.

    Correlations are cut at `highest`, scores at `most`. `least_spread` is added to the spread of Fisher's z, so that a
    part that hardly ever varies does not decide.
    """
    z = np.arctanh(np.clip(correlation, -highest, highest))
    nearest = np.argsort(-correlation.mean(2), axis=1, kind="stable")[:, :_NEIGHBOURS]
    usual = np.take_along_axis(z, nearest[..., None], axis=1)
    middle = np.median(usual, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(usual - middle), axis=(0, 1)) + least_spread
    scores: Floats = np.clip((z - middle) / spread, -2, most)
    return scores


def _both_ways(others: NDArray[np.intp], scores: Floats) -> dict[tuple[int, int], float]:
    """The lower score of each pair's two directions."""
    lowest: dict[tuple[int, int], float] = {}
    for i, (row, values) in enumerate(zip(others.tolist(), scores.tolist(), strict=True)):
        for j, value in zip(row, values, strict=True):
            pair = (min(i, j), max(i, j))
            lowest[pair] = min(value, lowest.get(pair, np.inf))
    return lowest
