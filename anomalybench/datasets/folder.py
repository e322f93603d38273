"""Any folder of images: one sub-folder per class, or a CSV manifest.

Class folders: those whose name is listed in `normal` hold normal images, every other one is a defect type. Folders
may be nested; the first level is the class. Manifest columns: path and label are needed; defect, mask, group and split
are optional. They are separated by commas, semicolons or tabs. Paths are relative to the data folder.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self, TextIO

from pydantic import Field

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Dataset, Item, LeftOut
from anomalybench.core.errors import DataError, printable, unknown
from anomalybench.datasets import _layout
from anomalybench.datasets._files import folder_name, folders, image_files, images_below, left_out, others_below

_COLUMNS = ("path", "label", "defect", "mask", "group", "split")
_SPLITS = ("train", "calibration", "test")
_NORMAL_LABELS = ("0", "normal", "ok", "good", "pass")
_ANOMALOUS_LABELS = ("1", "anomalous", "defective", "defect", "nok", "ng", "bad", "fail")


@dataclass(frozen=True, kw_only=True)
class Folder(Dataset):
    """Your own images; the one category is named after the folder, or as you like."""

    source: ClassVar[str] = "your own images: a folder with one sub-folder per class, or with a manifest"

    name: Annotated[str, Field(description="name of the category; empty: the folder's")] = ""
    normal: Annotated[str, Field(description="names of the classes without defects, separated by commas")] = ",".join(
        _layout.NORMAL_NAMES
    )
    manifest: Annotated[str, Field(description="a CSV file in the data folder to read instead of sub-folders")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if re.search(r"[/\\]|^\.|^\s|\s$", self.name) or printable(self.name) != self.name:
            raise ValueError(f"name = {self.name!r}: a name has no slashes, and no dot or blank before it")

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`."""
        return [self.name or folder_name(root)]

    def settled(self, root: Path) -> Self:
        """With its name, so that jobs on different folders differ."""
        return replace(self, name=self.categories(root)[0])

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`."""
        return self._listed(root, category) if self.manifest else self._found(root, category)

    def left_out(self, root: Path, category: str) -> list[LeftOut]:
        """See `Dataset.left_out`."""
        if self.manifest:
            used = {file for item in self.items(root, category) for file in (item.path, item.mask)}
            listed = (left_out(root, file, "not in the manifest") for file in images_below(root))
            return sorted((one for one in listed if one.path not in used), key=lambda one: one.path)
        found = [left_out(root, file, "beside the class folders") for file in image_files(root)]
        found += [left_out(root, d, "without images") for d in folders(root) if not images_below(d)]
        return sorted([*found, *others_below(root, root)], key=lambda one: one.path)

    def _found(self, root: Path, category: str) -> list[Item]:
        classes = folders(root)
        normal = self._normal_names()
        if not any(d.name.lower() in normal for d in classes):
            raise DataError(
                f"folder: {printable(root)} has no sub-folder of normal images (looked for "
                f"{', '.join(sorted(normal))}; {_layout.seen(root)}).\n{_layout.advice(root)}"
            )
        items = []
        for folder in classes:
            good = folder.name.lower() in normal
            label, defect = (NORMAL, GOOD) if good else (ANOMALOUS, folder.name)
            items += [Item(f.relative_to(root).as_posix(), category, label, defect) for f in images_below(folder)]
        return items

    def _listed(self, root: Path, category: str) -> list[Item]:
        file = root / self.manifest
        try:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                return [self._item(f"{file}, line {line}", root, category, row) for line, row in _rows(file, stream)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{file}: cannot be read as a CSV file in UTF-8 ({error}).") from None

    def _item(self, where: str, root: Path, category: str, row: dict[str, str | None]) -> Item:
        cells = {column: (row.get(column) or "").strip() for column in _COLUMNS}
        label = cells["label"].lower()
        if label in _NORMAL_LABELS or label in self._normal_names():
            good = True
        elif label in _ANOMALOUS_LABELS:
            good = False
        else:
            raise DataError(
                f"{where}: label '{cells['label']}'. Write 0 or normal (OK, good, pass), 1 or anomalous "
                "(defective, NOK, NG, bad, fail)."
            )
        if cells["split"] and cells["split"] not in _SPLITS:
            raise DataError(f"{where}: {unknown('split', cells['split'], _SPLITS)}")
        return Item(
            path=_inside(where, root, cells["path"]),
            category=category,
            label=NORMAL if good else ANOMALOUS,
            defect=GOOD if good else cells["defect"] or "defective",
            mask=_inside(where, root, cells["mask"]) if cells["mask"] else None,
            group=cells["group"] or None,
            split=cells["split"] or None,
        )

    def _normal_names(self) -> set[str]:
        return {name.strip().lower() for name in self.normal.split(",") if name.strip()}


def _rows(file: Path, stream: TextIO) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Line number and cells by column of every row; the separator is that of the first line."""
    first = stream.readline()
    separator = max(",;\t", key=first.count)
    columns = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
    _check_columns(file, columns, separator)
    reader = csv.DictReader(stream, columns, delimiter=separator)
    return ((reader.line_num + 1, row) for row in reader)


def _check_columns(file: Path, columns: Sequence[str], separator: str) -> None:
    for name in columns:
        if name not in _COLUMNS:
            raise DataError(f"{file}: {unknown('column', name, _COLUMNS)}")
    for needed in ("path", "label"):
        if needed not in columns:
            found = f"found {', '.join(columns) or 'none'}, separated by {separator!r}"
            raise DataError(
                f"{file}: the column '{needed}' is missing ({found}). Known columns: {', '.join(_COLUMNS)}."
            )


def _inside(where: str, root: Path, path: str) -> str:
    """The path relative to the root in its one canonical spelling, so that the same file is not listed twice."""
    if not path:
        raise DataError(f"{where}: the path is empty.")
    base = root.resolve()
    try:
        full = (base / path.replace("\\", "/")).resolve()
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: {printable(path)} is no path ({error}).") from None
    if not full.is_relative_to(base):
        raise DataError(f"{where}: {path} lies outside {printable(root)}. Put the manifest above all of its images.")
    return full.relative_to(base).as_posix()
