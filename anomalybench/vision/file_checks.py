"""Files of a category that cannot be used: all of them at once, before anything runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalybench.core.dataset import Item, file_fault
from anomalybench.core.errors import DataError, printable
from anomalybench.vision.decoding import upright_size
from anomalybench.vision.images import read_rgb

_NAMED = 10


def unreadable(root: Path, items: Sequence[Item], *, decode: bool = False) -> dict[str, str]:
    """Why images and masks cannot be used, by path.

    Reasons are: the file is missing or empty, its name is not UTF-8, its header cannot be read, or a mask is not of its
    image's size. Only the items given are looked at, so that what `max_normal` leaves out may be broken.

    Args:
        root: Folder the items' paths are relative to.
        items: What will be used.
        decode: Decode whole files: finds those that were cut off, too, and takes as long as reading all images.
    """
    found: dict[str, str] = {}
    for item in items:
        sizes = []
        for path in filter(None, (item.path, item.mask)):
            try:
                sizes.append(_size(root, path, decode=decode))
            except DataError as error:
                found[path] = str(error).removeprefix(f"{printable(root / path)}: ")
        if len(sizes) == 2 and sizes[0] != sizes[1] and item.mask is not None:
            image, mask = (f"{width}x{height}" for width, height in sizes)
            name = printable(item.path)
            found[item.mask] = f"the mask is {mask}, but its image {name} is {image}. Make them the same size."
    return found


def check_files(root: Path, items: Sequence[Item], dataset: str = "DATASET") -> None:
    """Refuse files that cannot be used, all at once.

    Args:
        root: Folder the items' paths are relative to.
        items: What will be used, see `unreadable`.
        dataset: Name of the plugin, for the command in the error.

    Raises:
        DataError: It names the first ten files.
    """
    if found := unreadable(root, items):
        raise DataError(refusal(root, found, dataset))


def refusal(root: Path, found: Mapping[str, str], dataset: str = "DATASET") -> str:
    """The text for files that are `unreadable`."""
    lines = [f"{printable(root / path)}: {reason}" for path, reason in list(found.items())[:_NAMED]]
    lines += [f"... and {len(found) - _NAMED} more"] * (len(found) > _NAMED)
    count = f"{len(found)} files cannot be used" if len(found) > 1 else "1 file cannot be used"
    return (
        "\n  ".join([f"{count}:", *lines]) + f"\n`anomalybench data check {dataset}` with the same --data and --set "
        "options lists all that is wrong; --skip-unreadable goes on without them."
    )


def _size(root: Path, path: str, *, decode: bool) -> tuple[int, int]:
    if fault := file_fault(root, path):
        raise DataError(fault)
    if not decode:
        return upright_size(root / path)
    height, width, _ = read_rgb(root / path).shape
    return width, height
