"""Which files a user means: files, folders, patterns, a list on standard input, or a folder that is watched."""

import time
from collections.abc import Callable, Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from anomalybench.core.errors import DataError, UsageError, printable
from anomalybench.datasets._files import images_below
from anomalybench.deploy.stream import path_text

STDIN = "-"
_POLL_S = 0.5


def listed(names: Iterable[str], lines: Iterable[str]) -> Iterator[Path]:
    """Files by what was typed, in that order; folders and patterns give theirs sorted.

    Args:
        names: Files, folders, patterns as in `line3/*.png`, or `-` for one path per line of `lines`.
        lines: Lines of standard input.

    Raises:
        UsageError: There is no such file or folder, or nothing fits a pattern.
        DataError: A folder without images.
    """
    for name in names:
        if name == STDIN:
            yield from (Path(line.rstrip("\r\n")) for line in lines if line.strip())
        else:
            yield from _named(name)


def _named(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        found = images_below(path)
        if not found:
            raise DataError(f"{printable(name)}: no images in this folder.")
        return found
    if path.exists():
        return [path]
    if has_magic(name):
        matches = [Path(match) for match in sorted(glob(name, recursive=True))]  # noqa: PTH207, also above here
        files = [file for match in matches for file in (images_below(match) if match.is_dir() else [match])]
        if files:
            return files
        raise UsageError(f"{printable(name)}: no file fits this pattern.")
    raise UsageError(f"{printable(name)}: there is no such file or folder.")


def watched(folder: Path, known: Iterable[str] = (), idle: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Image files in a folder as they come, without end; those that are there already come first.

    A file counts as complete when its size has not changed from one look to the next, half a second later.

    Args:
        folder: Where to look, in its folders, too.
        known: Paths that are done already, as tables have them.
        idle: Called before each wait.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)}: --watch follows a folder, and there is none of that name.")
    return _complete(folder, set(known), idle)


def _complete(folder: Path, done: set[str], idle: Callable[[], None]) -> Iterator[Path]:
    sizes = dict[Path, int]()
    while True:
        for file in images_below(folder):
            if path_text(file) in done:
                continue
            try:
                size = file.stat().st_size
            except FileNotFoundError:
                continue
            if sizes.get(file) == size and size:
                done.add(path_text(file))
                del sizes[file]
                yield file
            else:
                sizes[file] = size
        idle()
        time.sleep(_POLL_S)
