"""Where the project's own files lie: beside the package in a checkout, inside it in an installed wheel."""

import os
import shlex
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
RESULTS = Path("results")
"""Where results go unless another folder is named."""


def checkout() -> Path | None:
    """Root of the source checkout that this package runs from, or None for an installed wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "methods").is_dir() else None


def configs() -> Path:
    """Folder of the suites that come with the project."""
    return (checkout() or _PACKAGE) / "configs"


def references() -> Path:
    """Folder of the pinned and the published results."""
    root = checkout()
    return root / "results" / "reference" if root else _PACKAGE / "reference"


def cache() -> Path:
    """Folder for files that can be made again: `ANOMALYBENCH_CACHE`, else the user's cache folder."""
    named = os.environ.get("ANOMALYBENCH_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anomalybench"


def data(named: str | Path | None) -> Path | None:
    """Folder of the data: the one named, else `ANOMALYBENCH_DATA`, else None."""
    folder = named or os.environ.get("ANOMALYBENCH_DATA")
    return Path(folder) if folder else None


def command(*words: str, results: Path) -> str:
    """A command of ours to type, with `--results` where that is not the default folder."""
    where = [] if results == RESULTS else ["--results", str(results)]
    return shlex.join(["anomalybench", *words, *where])
