"""Reading images and masks: whatever Pillow reads becomes RGB; what is broken is named."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from anomalybench.core.dataset import Item
from anomalybench.core.errors import DataError
from anomalybench.core.method import Images

if TYPE_CHECKING:
    import torch

_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_EXIF_ORIENTATION = 0x0112


class ImageFiles(Sequence[NDArray[np.uint8]]):
    """Images that are decoded on access: all a method gets to see of the files.

    Attributes:
        hashes: Hash of each file's contents, where they are known: a key to what was computed from it before.
    """

    def __init__(self, paths: Sequence[Path], hashes: Sequence[str] | None = None) -> None:
        self._paths = tuple(paths)
        self.hashes = None if hashes is None else tuple(hashes)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ImageFiles(self._paths[index], None if self.hashes is None else self.hashes[index])
        return read_rgb(self._paths[index])


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode an image file to RGB, height x width x 3.

    Grey, palette, CMYK and alpha images are converted; 16-bit ones are scaled by 1/257; EXIF orientation is applied.

    Raises:
        DataError: The file is missing, broken or holds floating-point pixels.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode in _SIXTEEN_BIT:
                grey = np.asarray(upright, np.float64) / 257
                return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
            if upright.mode == "F":
                raise DataError(f"{path}: floating-point pixels have no agreed range. Save it with 8 or 16 bits.")
            return np.asarray(_without_alpha(upright).convert("RGB"))
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Replace or remove it.") from None


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Decode a mask to height x width.

    A pixel is defective where its brightest channel is at least half of the range, so that JPEG noise is not; in a
    palette image, and where no value exceeds 1, wherever it is not 0.

    Raises:
        DataError: The file is missing or broken.
    """
    try:
        with Image.open(path) as image:
            indices = np.asarray(ImageOps.exif_transpose(image)) if image.mode == "P" else None
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a mask ({error}). Replace or remove it.") from None
    if indices is not None:
        return indices != 0
    brightest = read_rgb(path).max(axis=2)
    return brightest >= (128 if brightest.max() > 1 else 1)


def resize_map(anomaly_map: NDArray[np.float16], size: tuple[int, int]) -> NDArray[np.float16]:
    """Bring a map to (width, height) bilinearly, cell centres on cell centres as torch and OpenCV do."""
    width, height = size
    if anomaly_map.shape == (height, width):
        return anomaly_map
    rows, columns = _weights(anomaly_map.shape[0], height), _weights(anomaly_map.shape[1], width)
    values = anomaly_map.astype(np.float32)
    tall = values[rows[0]] * (1 - rows[2])[:, None] + values[rows[1]] * rows[2][:, None]
    full = tall[:, columns[0]] * (1 - columns[2]) + tall[:, columns[1]] * columns[2]
    return full.astype(np.float16)


def check_files(root: Path, items: Sequence[Item]) -> None:
    """Read the headers of all images and masks.

    Raises:
        DataError: A header is broken, or a mask's size is not its image's.
    """
    for item in items:
        size = upright_size(root / item.path)
        if item.mask is not None and (found := upright_size(root / item.mask)) != size:
            raise DataError(
                f"{root / item.mask}: the mask is {found[0]}x{found[1]}, but its image {item.path} is "
                f"{size[0]}x{size[1]}. Make them the same size."
            )


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


def _without_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


def _weights(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Lower neighbour, upper neighbour and the upper one's weight for each new cell."""
    place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, before - 1), (place - low).astype(np.float32)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's header, EXIF orientation applied; DataError if it cannot be read."""
    try:
        with Image.open(path) as image:
            # getexif decodes a whole PNG file, unless its header has shown that there is something to find.
            tagged = "exif" in image.info or image.format == "TIFF"
            turned = tagged and image.getexif().get(_EXIF_ORIENTATION, 1) != 1
            # Some of Pillow's readers turn the image themselves, so where it is turned only decoding tells.
            return ImageOps.exif_transpose(image).size if turned else image.size
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Replace or remove it.") from None
