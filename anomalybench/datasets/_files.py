"""Finding image files, and naming what is not used."""

import re
from pathlib import Path

from PIL import Image

from anomalybench.core import image_formats
from anomalybench.core.dataset import LeftOut
from anomalybench.core.errors import DataError, printable

_GENERIC = re.compile(
    r"(image|img|picture|pic|photo|frame|sample|file|folder|dataset|export|input)s?|data|train|test|val|valid|validation|"
    r"all|raw|jpe?g|png|tiff?|bmp",
    re.IGNORECASE,
)


_DOCUMENTS = frozenset(
    (".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".ini", ".db")
)
"""Files that nobody takes for images: a data set's readme and licence are not worth a remark."""


def entries(folder: Path) -> list[Path]:
    """Everything in a folder, sorted; nothing if it does not exist.

    Raises:
        DataError: It cannot be read.
    """
    if not folder.is_dir():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{printable(folder)}: the folder cannot be read ({error.strerror}).") from None


def folders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, without hidden ones and links to what the folder lies in."""
    return [entry for entry in entries(folder) if entry.is_dir() and not _hidden(entry) and not _is_loop(entry)]


def image_files(folder: Path) -> list[Path]:
    """Files in `folder` with the ending of a format that is opened, sorted; hidden files are left out."""
    endings = _endings()
    return [f for f in entries(folder) if f.suffix.lower() in endings and not _hidden(f) and f.is_file()]


def images_below(folder: Path) -> list[Path]:
    """Image files in `folder` and all folders in it, without hidden ones."""
    return [*image_files(folder), *(file for inner in folders(folder) for file in images_below(inner))]


def others(root: Path, folder: Path) -> list[LeftOut]:
    """What is hidden or no image file in `folder`, but for its folders and for documents."""
    found, endings = [], _endings()
    for entry in entries(folder):
        if _hidden(entry):
            found.append(left_out(root, entry, "hidden"))
        elif not entry.is_dir() and entry.suffix.lower() not in (*endings, *_DOCUMENTS):
            ending = f"the ending {entry.suffix}" if entry.suffix else "no ending"
            found.append(left_out(root, entry, f"with {ending}, which is not read"))
    return found


def others_below(root: Path, folder: Path) -> list[LeftOut]:
    """`others` in `folder` and all folders in it."""
    return [*others(root, folder), *(one for inner in folders(folder) for one in others_below(root, inner))]


def left_out(root: Path, path: Path, reason: str) -> LeftOut:
    """One file or folder that is not used."""
    return LeftOut(path.relative_to(root).as_posix(), reason)


def folder_name(folder: Path) -> str:
    """What a folder is called: its name, after those of the folders it lies in where it says little, as `images` does.

    So `lineA/images` is `lineA-images`, which is not `lineB-images`.
    """
    parts = folder.resolve().parts[1:]
    first = next((i for i in range(len(parts) - 1, 0, -1) if not _GENERIC.fullmatch(parts[i])), 0)
    return printable("-".join(parts[first:])).replace("\\", "_") or "folder"


def _endings() -> set[str]:
    formats = image_formats.allowed()
    return {ending for ending, kind in Image.registered_extensions().items() if kind in formats}


def _is_loop(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")
