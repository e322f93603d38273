"""Where an image of a job may be read from, so that a results folder from elsewhere pulls in nothing of the reader's.

A record names its data folder and the images in it; both come from whoever made it. A page is sent on, so an image gets
in only from below the data folder that the reader names, or, without one, from below the record's own folder if the job
ran on this machine. Links are followed only if they end below that folder.
"""

import platform
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from anomalybench.core import places
from anomalybench.core.errors import DataError
from anomalybench.core.record import Record

HINT = "Name the data folder: --data DIR"


class Place(NamedTuple):
    """Where the images of a record lie.

    Attributes:
        root: The folder their paths are relative to; empty where none may be read.
        allowed: The folder that none may lie outside of.
    """

    root: str
    allowed: str


NOWHERE = Place("", "")


def place(record: Record, data: Path | None = None) -> Place:
    """Where images of a record may be read from.

    Args:
        record: What a job left, on this machine or another.
        data: The data folder that the reader names: nothing else may be read. Without one, the record's own folder may,
            if the job ran on this machine or if `ANOMALYBENCH_DATA` holds that folder.
    """
    if not record.root:
        return NOWHERE
    root = Path(record.root)
    if data is not None:
        return Place(str(root if _inside(root, data) else _moved(root, data)), str(data))
    here, usual = record.environment.get("host") == platform.node(), places.data(None)
    own = (here and _is_data_folder(root)) or (usual is not None and _inside(root, usual))
    return Place(str(root), str(root)) if own else NOWHERE


def locate(where: Place, path: str) -> Path:
    """The file of an image or a mask.

    Raises:
        DataError: It lies outside the data folder, or none may be read.
    """
    if not where.root:
        raise DataError(f"{path}: not shown. {HINT}")
    relative = PurePosixPath(path)
    file = Path(where.root) / relative
    try:
        inside = _inside(file, Path(where.allowed))
    except (OSError, ValueError, RuntimeError):  # a name with a zero byte, a circle of links
        raise DataError(f"{path}: cannot be read. Replace or remove it.") from None
    if relative.is_absolute() or ".." in relative.parts or not inside:
        raise DataError(f"{path} lies outside the data folder {where.allowed}. {HINT}")
    return file


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _moved(root: Path, data: Path) -> Path:
    """The record's folder in another place: the folder of that name in the data folder, or the data folder itself."""
    return data / root.name if (data / root.name).is_dir() else data


def _is_data_folder(root: Path) -> bool:
    """Whether a folder may be one of data: neither the home folder nor one that holds it."""
    return not Path.home().resolve().is_relative_to(root.resolve())
