"""Files that are whole or not there: written aside, brought to the disk, renamed. And what goes into them as JSON."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np

from anomalybench.core.errors import StoreError

ASIDE = ".anomalybench-aside."
"""Start of the names of files that are being written."""
_OLD_S = 24 * 3600
"""Nothing is written aside for so long, so that what another process is at work on is never touched."""


@contextmanager
def write_aside(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """A file to write into; afterwards it becomes `target`. A reader, or a power cut, finds the whole file or none.

    Args:
        target: Where the file goes; its folder is made.
        durable: Wait until it is on the disk (6 ms instead of .3); not needed where damage is noticed and mended.

    Yields:
        An empty file beside it with the same suffix. It is removed where the writing fails.

    Raises:
        OSError: It cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=ASIDE, suffix=target.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o644)
        if durable:
            sync(aside)
        aside.replace(target)
        if durable:
            sync(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_text(file: Path, text: str, option: str = "--results DIR") -> None:
    """Write a UTF-8 file, its folder included, at once or not at all.

    Args:
        file: Where to.
        text: What; what UTF-8 lacks, as in a file name in another code, is written with a backslash.
        option: How to name another place, for the error.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        with write_aside(file) as aside:
            aside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        sweep(file.parent, f"{ASIDE}*")
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror or error}). Name another: {option}.") from None


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, so that a rename after it cannot get there first."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDWR if os.name != "posix" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, pattern: str = ".*") -> None:
    """Remove what killed processes left half-written more than a day ago; what cannot be removed stays.

    Args:
        folder: Where to look, not below it.
        pattern: Of the names; only names that begin with a dot are removed.
    """
    for path in folder.glob(pattern):
        try:
            if path.name.startswith(".") and path.lstat().st_mtime < time.time() - _OLD_S:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
        except OSError:
            continue


@overload
def none_for_nan(value: Mapping[str, float]) -> dict[str, int | float | None]: ...
@overload
def none_for_nan(value: float) -> float | None: ...
@overload
def none_for_nan(value: object) -> object: ...
def none_for_nan(value: object) -> object:
    """A value as JSON can hold it, however nested: NaN and infinities become None, NumPy's values become Python's."""
    if isinstance(value, Mapping):
        return {key: none_for_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [none_for_nan(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        plain = value.tolist()
        return none_for_nan(plain) if isinstance(plain, list | float) else plain
    return None if isinstance(value, float) and not math.isfinite(value) else value
