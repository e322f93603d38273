"""What killed processes leave behind: files and folders that were being written aside, with a dot before their name."""

import shutil
import time
from pathlib import Path

_OLD_S = 24 * 3600
"""Nothing is written aside for so long, so that what another process is at work on is never touched."""


def sweep(folder: Path, pattern: str = ".*") -> None:
    """Remove old leftovers whose names match; what cannot be removed stays."""
    for path in folder.glob(pattern):
        try:
            if path.name.startswith(".") and path.lstat().st_mtime < time.time() - _OLD_S:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
        except OSError:
            continue
