"""Which image formats are opened, and how large an image may be; two environment variables allow more.

A file's contents decide on its format, not its name. Formats outside this list are refused because Pillow's readers for
them are rarely used: some start other programs (EPS), some end in errors of any kind on a damaged file.
"""

import os

from anomalybench.core.errors import UsageError

DEFAULT = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
"""Pillow's names. PPM stands for PBM, PGM and PNM, too; of a GIF, the first picture is read."""
MEGAPIXELS = 100.0
"""The default limit: 100 megapixels are 300 MB in memory, once decoded."""


def allowed() -> tuple[str, ...]:
    """The formats that are opened: the default ones and those in `ANOMALYBENCH_FORMATS`, separated by commas."""
    more = os.environ.get("ANOMALYBENCH_FORMATS", "").split(",")
    return (*DEFAULT, *(name.strip().upper() for name in more if name.strip()))


def max_megapixels() -> float:
    """The greatest image that is decoded: `ANOMALYBENCH_MAX_MEGAPIXELS`, else 100.

    Raises:
        UsageError: The variable holds no positive number.
    """
    text = os.environ.get("ANOMALYBENCH_MAX_MEGAPIXELS") or str(MEGAPIXELS)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise UsageError(f"ANOMALYBENCH_MAX_MEGAPIXELS = {text!r}: write a positive number, as in 400.")
    return limit
