"""Reading images and masks: every kind of pixel becomes RGB; what is broken is named."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from anomalybench.core.errors import DataError, printable
from anomalybench.core.method import Images
from anomalybench.vision.decoding import opened, opened_bytes, upright_size

if TYPE_CHECKING:
    import torch

__all__ = [
    "BITS", "ImageFiles", "batches", "bits_in_use", "bits_of", "decode_rgb", "greatest_value", "is_deep_colour",
    "n_beyond", "read_mask", "read_rgb", "stack", "upright_size",
]  # fmt: skip

BITS = (8, 10, 12, 14, 16)
"""Depths of cameras whose images are stored with 16 bits."""
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")


class ImageFiles(Sequence[NDArray[np.uint8]]):
    """Images that are decoded on access: all a method gets to see of the files.

    Attributes:
        hashes: A key to what was computed from each image before, where the hashes of the files' contents are known:
            these, and the bits that 16-bit images use if they are not 16.
    """

    def __init__(self, paths: Sequence[Path], hashes: Sequence[str] | None = None, bits: int = 16) -> None:
        """Images by path.

        Args:
            paths: The files.
            hashes: SHA-256 of each file's contents: a file that has changed since is refused.
            bits: See `read_rgb`.
        """
        self._paths, self._bits = tuple(paths), bits
        self._contents = None if hashes is None else tuple(hashes)
        suffix = "" if bits == 16 else f"-{bits}bit"
        self.hashes = None if hashes is None else tuple(name + suffix for name in hashes)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageFiles": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.uint8] | ImageFiles":
        if isinstance(index, slice):
            contents = None if self._contents is None else self._contents[index]
            return ImageFiles(self._paths[index], contents, self._bits)
        return read_rgb(self._paths[index], self._bits, None if self._contents is None else self._contents[index])

    def taken(self, places: Iterable[int]) -> "ImageFiles":
        """The images at these places, in this order."""
        order = list(places)
        contents = None if self._contents is None else [self._contents[i] for i in order]
        return ImageFiles([self._paths[i] for i in order], contents, self._bits)


def read_rgb(path: Path, bits: int = 16, expected_hash: str | None = None) -> NDArray[np.uint8]:
    """Decode an image file to RGB, height x width x 3.

    Grey, palette, CMYK and alpha images are converted; EXIF orientation is applied; a GIF is its first picture.

    Args:
        path: The file.
        bits: How many bits 16-bit images use, see `bits_in_use`: 0 to 2**bits - 1 become 0 to 255, rounded; greater
            values become 255. Plays no part for other images.
        expected_hash: SHA-256 of the file's contents, see `decoding.opened`.

    Raises:
        DataError: The file is missing, broken, too large, has changed or holds floating-point pixels.
    """
    with opened(path, expected_hash=expected_hash) as image:
        return _rgb(image, path, bits)


def decode_rgb(contents: bytes, name: str, bits: int, limit: float) -> NDArray[np.uint8]:
    """`read_rgb` for a file's contents in memory, such as an upload's.

    Args:
        contents: The file.
        name: What to call it in an error; never used as a path.
        bits: See `read_rgb`.
        limit: Greatest size in megapixels.

    Raises:
        DataError: It is broken, too large, of a format that is not allowed, or holds floating-point pixels.
    """
    with opened_bytes(contents, name, limit) as image:
        return _rgb(image, name, bits)


def greatest_value(path: Path) -> int | None:
    """Greatest value of a 16-bit image; None for any other, of which only the header is read."""
    with opened(path) as image:
        return int(np.asarray(image).max()) if image.mode in _SIXTEEN_BIT else None


def bits_in_use(paths: Iterable[Path]) -> int:
    """How many bits the 16-bit images among some files use: 8, 10, 12, 14 or 16; 16 where there are none.

    It is the least depth that holds their greatest value, so that the 0 to 1023 of a 10-bit camera are not taken for
    black. Pass the train images: what is known of a category must not come from those it is tested on.
    """
    return bits_of(value for path in paths if (value := greatest_value(path)) is not None)


def bits_of(values: Iterable[int]) -> int:
    """`bits_in_use` of images with these greatest values."""
    greatest = -1
    for value in values:
        greatest = max(greatest, value)
        if greatest >= 2 ** BITS[-2]:
            break  # no other image can change the answer
    return 16 if greatest < 0 else next((bits for bits in BITS if greatest < 2**bits), 16)


def n_beyond(paths: Iterable[Path], bits: int) -> int:
    """How many 16-bit images among some files have values that `bits` bits do not hold: these are cut to white."""
    if bits == 16:
        return 0
    return sum(greatest >= 2**bits for path in paths if (greatest := greatest_value(path)) is not None)


def is_deep_colour(path: Path) -> bool:
    """Whether a colour image has 16 bits per channel: Pillow keeps the upper 8, in which a 10-bit camera is black."""
    with opened(path) as image:
        return image.mode not in _SIXTEEN_BIT and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def read_mask(path: Path, expected_hash: str | None = None) -> NDArray[np.bool_]:
    """Decode a mask to height x width.

    A pixel is defective where its brightest channel is at least half of the range, so that JPEG noise is not; in a
    palette image, and where no value exceeds 1, wherever it is not 0.

    Args:
        path: The file.
        expected_hash: SHA-256 of the file's contents, see `decoding.opened`.

    Raises:
        DataError: The file is missing, broken, too large or has changed.
    """
    with opened(path, "a mask", expected_hash) as image:
        indices = np.asarray(ImageOps.exif_transpose(image)) if image.mode == "P" else None
    brightest = read_rgb(path, expected_hash=expected_hash).max(axis=2) if indices is None else indices
    least = 1 if indices is not None or brightest.max() <= 1 else 128
    marked: NDArray[np.bool_] = brightest >= least
    return marked


def stack(images: Images, size: int) -> "torch.Tensor":
    """Images resized to size x size (bilinear, aspect not kept): n x 3 x size x size, uint8."""
    import torch  # here, so that listing suites and checking files need not wait for it

    out = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for i in range(len(images)):
        resized = Image.fromarray(images[i]).resize((size, size), Image.Resampling.BILINEAR)
        out[i] = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    return out


def batches(images: Images, length: int) -> Iterator[Images]:
    """Consecutive runs of at most `length` images."""
    for start in range(0, len(images), length):
        yield images[start : start + length]


def _rgb(image: Image.Image, name: Path | str, bits: int) -> NDArray[np.uint8]:
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _SIXTEEN_BIT:
        grey = np.asarray(upright, np.float64) * (255 / (2**bits - 1))
        return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if upright.mode == "F":
        raise DataError(f"{printable(name)}: floating-point pixels have no agreed range. Save it with 8 or 16 bits.")
    return np.asarray(_without_alpha(upright).convert("RGB"))


def _without_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
