"""Any folder of images: one sub-folder per class, or a CSV manifest.

Class folders: those whose name is listed in `normal` hold normal images, every other one is a defect type. Folders
may be nested; the first level is the class. Manifest columns: path and label are needed; defect, mask, group and split
are optional. Paths are relative to the data folder.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Dataset, Item
from anomalybench.core.errors import DataError, unknown
from anomalybench.datasets._files import image_files

_COLUMNS = ("path", "label", "defect", "mask", "group", "split")
_SPLITS = ("train", "calibration", "test")
_NORMAL_LABELS = ("0", "normal")
_ANOMALOUS_LABELS = ("1", "anomalous", "defective")


@dataclass(frozen=True, kw_only=True)
class Folder(Dataset):
    """Your own images; the one category is named after the folder."""

    source: ClassVar[str] = "your own images: a folder with one sub-folder per class, or with a manifest"

    normal: Annotated[str, Field(description="names of the classes without defects, separated by commas")] = (
        "good,normal,ok"
    )
    manifest: Annotated[str, Field(description="a CSV file in the data folder to read instead of sub-folders")] = ""

    def categories(self, root: Path) -> list[str]:
        """See `Dataset.categories`."""
        return [root.resolve().name]

    def items(self, root: Path, category: str) -> list[Item]:
        """See `Dataset.items`."""
        return self._listed(root, category) if self.manifest else self._found(root, category)

    def _found(self, root: Path, category: str) -> list[Item]:
        classes = [d for d in root.iterdir() if d.is_dir() and not d.name.startswith(".")]
        normal = self._normal_names()
        if not any(d.name.lower() in normal for d in classes):
            raise DataError(
                f"folder: {root} has no sub-folder of normal images (looked for {', '.join(sorted(normal))}; found "
                f"{', '.join(sorted(d.name for d in classes)) or 'none'}). Name yours: --set folder.normal=NAME."
            )
        items = []
        for folder in classes:
            good = folder.name.lower() in normal
            label, defect = (NORMAL, GOOD) if good else (ANOMALOUS, folder.name)
            items += [Item(f.relative_to(root).as_posix(), category, label, defect) for f in _below(folder)]
        return items

    def _listed(self, root: Path, category: str) -> list[Item]:
        file = root / self.manifest
        try:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                _check_columns(file, reader.fieldnames or ())
                return [self._item(f"{file}, line {reader.line_num}", root, category, row) for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{file}: cannot be read as a CSV file ({error}).") from None

    def _item(self, where: str, root: Path, category: str, row: dict[str, str | None]) -> Item:
        cells = {column: (row.get(column) or "").strip() for column in _COLUMNS}
        label = cells["label"].lower()
        if label in _NORMAL_LABELS or label in self._normal_names():
            good = True
        elif label in _ANOMALOUS_LABELS:
            good = False
        else:
            raise DataError(f"{where}: label '{cells['label']}'. Write 0 or normal, 1 or anomalous.")
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


def _below(folder: Path) -> list[Path]:
    nested = (file for d in sorted(folder.iterdir()) if d.is_dir() for file in _below(d))
    return [*image_files(folder), *nested]


def _check_columns(file: Path, columns: Iterable[str]) -> None:
    found = list(columns)
    for name in found:
        if name not in _COLUMNS:
            raise DataError(f"{file}: {unknown('column', name, _COLUMNS)}")
    for needed in ("path", "label"):
        if needed not in found:
            raise DataError(f"{file}: the column '{needed}' is missing. Known columns: {', '.join(_COLUMNS)}.")


def _inside(where: str, root: Path, path: str) -> str:
    """The path relative to the root in its one canonical spelling, so that the same file is not listed twice."""
    if not path:
        raise DataError(f"{where}: the path is empty.")
    base = root.resolve()
    full = (base / path.replace("\\", "/")).resolve()
    if not full.is_relative_to(base):
        raise DataError(f"{where}: {path} lies outside {root}. Put the manifest above all of its images.")
    return full.relative_to(base).as_posix()
