"""Opening image files that may be anything: allowed formats only, of limited size, with one kind of error.

Of 7,500 mutated files, some made Pillow raise errors of other kinds than its documented ones, so whatever it raises
becomes a `DataError` that names the file.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from anomalybench.core import image_formats
from anomalybench.core.errors import AnomalyBenchError, DataError, UsageError, printable

_EXIF_ORIENTATION = 0x0112

# `opened` and `opened_bytes` refuse these images with a limit of their own, before anything is decoded.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageFormatError(DataError):
    """Contents that are of none of the allowed formats."""


class ImageSizeError(DataError):
    """An image with more pixels than are allowed; its header has told, nothing was decoded."""


@contextmanager
def opened(path: Path, kind: str = "an image", expected_hash: str | None = None) -> Iterator[Image.Image]:
    """Open a file with Pillow; every error while it is open becomes a `DataError` that names the file.

    Args:
        path: The file.
        kind: What it should be, for the error.
        expected_hash: SHA-256 of the contents when the run was planned. The very bytes that are decoded are hashed and
            compared. At 1024 x 1024 this adds 0.15 ms to the 4.9 ms of a JPEG file (0.3 MB), 0.7 ms to the 19 ms of a
            PNG file (1.3 MB).

    Raises:
        DataError: The file is missing, broken, too large, of a format that is not allowed, or has changed.
    """
    hint = "set ANOMALYBENCH_MAX_MEGAPIXELS to a higher number"
    with _opened(lambda: _source(path, expected_hash), path, kind, image_formats.max_megapixels(), hint) as image:
        yield image


@contextmanager
def opened_bytes(contents: bytes, name: str, limit: float) -> Iterator[Image.Image]:
    """`opened` for a file's contents in memory, such as an upload's.

    Args:
        contents: The file.
        name: What to call it in an error; never used as a path.
        limit: Greatest size in megapixels.

    Raises:
        DataError: It is broken, too large or of a format that is not allowed.
    """
    with _opened(lambda: io.BytesIO(contents), name, "an image", limit, "raise the limit (--max-megapixels)") as image:
        yield image


@contextmanager
def _opened(
    source: Callable[[], Path | io.BytesIO], name: Path | str, kind: str, limit: float, hint: str
) -> Iterator[Image.Image]:
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit would stop what the user allows
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, int(limit * 1e6))
    try:
        with Image.open(source(), formats=_formats()) as image:
            if image.width * image.height > limit * 1e6:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
            yield image
    except AnomalyBenchError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageSizeError(
            f"{printable(name)}: larger than {limit:g} megapixels ({error}). Cut it into tiles, or {hint}."
        ) from None
    except Exception as error:  # Pillow's readers raise many kinds for a broken file
        cls = ImageFormatError if isinstance(error, UnidentifiedImageError) else DataError
        raise cls(f"{printable(name)}: cannot be read as {kind} ({_reason(error)}). Replace or remove it.") from None


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's header, EXIF orientation applied; DataError if it cannot be read."""
    with opened(path) as image:
        # getexif decodes a whole PNG file, unless its header has shown that there is something to find.
        tagged = "exif" in image.info or image.format == "TIFF"
        turned = tagged and image.getexif().get(_EXIF_ORIENTATION, 1) != 1
        # Some of Pillow's readers turn the image themselves, so where it is turned only decoding tells.
        return ImageOps.exif_transpose(image).size if turned else image.size


def _source(path: Path, expected_hash: str | None) -> Path | io.BytesIO:
    if expected_hash is None:
        return path
    contents = path.read_bytes()
    if hashlib.sha256(contents).hexdigest() != expected_hash:
        raise DataError(f"{printable(path)} has changed since the run began. Start the run again.")
    return io.BytesIO(contents)


def _formats() -> tuple[str, ...]:
    formats = image_formats.allowed()
    if not all(name in Image.OPEN for name in formats):
        Image.init()
    for name in formats:
        if name not in Image.OPEN:
            known = ", ".join(sorted(Image.OPEN))
            raise UsageError(f"ANOMALYBENCH_FORMATS: Pillow cannot open '{name}'. Known: {known}.")
    return formats


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(image_formats.allowed())}"
    if isinstance(error, OSError) and error.strerror:
        return "it does not exist" if isinstance(error, FileNotFoundError) else error.strerror
    return printable(error) or type(error).__name__
