"""Writing a file so that a reader finds it whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_aside(file: Path) -> Iterator[Path]:
    """A temporary path in the file's folder: renamed onto `file` on success, removed on failure."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=file.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
