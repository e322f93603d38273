"""How a result's folder takes its place: all or nothing, and on the disk before it counts."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.bench.store import arrays
from anomalybench.bench.store.reading import RECORD, RESAMPLES
from anomalybench.core.files import sync
from anomalybench.core.record import Record


def finish(folder: Path, record: Record, resamples: Mapping[str, NDArray[np.floating[Any]]]) -> Record:
    """Write what is written last, and bring all of it to the disk."""
    if resamples:
        arrays.write(folder / RESAMPLES, {name: values.astype(np.float32) for name, values in resamples.items()})
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    record = record.model_copy(update={"files": sizes})
    (folder / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    for file in folder.iterdir():
        sync(file)
    sync(folder)
    folder.chmod(0o755)
    return record


def link(file: Path, target: Path) -> None:
    """The same file under another name; a copy where that is not possible."""
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, target)


def replace(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`; what was there goes aside first, since a folder cannot be renamed onto a full one."""
    if target.is_symlink():
        raise OSError(f"{target} is a symbolic link. Remove it")
    for _ in range(100):
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with contextlib.suppress(FileNotFoundError):
                target.rename(old)
            try:
                aside.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                sync(target.parent)
                return
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(f"another process keeps writing {target}")
