"""A dataset: a named table of items, one category of which a job sees."""

import hashlib
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from anomalybench.core.errors import DataError, unknown

NORMAL = 0
ANOMALOUS = 1
GOOD = "good"
"""The `defect` of every normal item."""


@dataclass(frozen=True)
class Item:
    """One image.

    Attributes:
        path: Relative to the dataset's root with forward slashes, so that splits are the same on every machine.
        category: The product or texture it shows.
        label: 0 normal, 1 anomalous.
        defect: Defect type; `good` for a normal image.
        mask: Path of the ground-truth mask, relative to the root, where there is one.
        group: Images of one physical object share a group; None means a group of its own.
        split: The part of the dataset's own split (`train`, `calibration` or `test`) where it has one.
    """

    path: str
    category: str
    label: int
    defect: str = GOOD
    mask: str | None = None
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Base of dataset plugins: its fields are its options, its methods turn a folder into items."""

    source: ClassVar[str]
    """Where to get the data and under which licence; part of the error when they are missing."""

    max_normal: Annotated[int | None, Field(ge=1, description="keep at most this many normal images")] = None
    max_anomalous: Annotated[int | None, Field(ge=1, description="keep at most this many anomalous images")] = None
    group_by: Annotated[
        str,
        Field(
            description="regular expression on the path: images whose match (or its groups) is the same belong together"
        ),
    ] = ""

    def __post_init__(self) -> None:
        try:
            re.compile(self.group_by)
        except re.error as error:
            raise ValueError(f"group_by = {self.group_by!r} is no regular expression ({error})") from None

    @property
    def name(self) -> str:
        """The plugin's name: its module's file name."""
        return type(self).__module__.rpartition(".")[2]

    def root(self, data: Path | None) -> Path:
        """Folder the items' paths are relative to.

        Args:
            data: What `--data` or `ANOMALYBENCH_DATA` names: the dataset's folder, or one that holds it by its name.

        Raises:
            DataError: No folder is named or it does not exist.
        """
        if data is None:
            raise DataError(
                f"{self.name}: no data folder. Pass --data DIR or set ANOMALYBENCH_DATA.\nSource: {self.source}"
            )
        if not data.is_dir():
            raise DataError(f"{self.name}: the data folder {data} does not exist.\nSource: {self.source}")
        return data / self.name if (data / self.name).is_dir() else data

    @abstractmethod
    def categories(self, root: Path) -> list[str]:
        """Names of the categories found in `root`, sorted."""

    @abstractmethod
    def items(self, root: Path, category: str) -> list[Item]:
        """Every item of one category, in any order."""

    def load(self, root: Path, category: str) -> list[Item]:
        """Checked items of one category, sorted by path, thinned out by `max_normal` and `max_anomalous`.

        Raises:
            UsageError: The category does not exist.
            DataError: No images, no normal image, an image twice, or a file that is missing or empty.
        """
        if category not in (known := self.categories(root)):
            raise unknown(f"category of {self.name} in {root}", category, known)
        items = sorted(self.grouped(root, category), key=lambda item: item.path)
        _check(self.name, root, category, items)
        return self.thin(items)

    def thin(self, items: Sequence[Item]) -> list[Item]:
        """As many of the items as `max_normal` and `max_anomalous` allow, sorted by path."""
        normal = [item for item in items if item.label == NORMAL]
        anomalous = [item for item in items if item.label == ANOMALOUS]
        kept = _thin(normal, self.max_normal) + _thin(anomalous, self.max_anomalous)
        return sorted(kept, key=lambda item: item.path)

    def grouped(self, root: Path, category: str) -> list[Item]:
        """`items`, tied together by `group_by`; nothing is checked."""
        return [self._grouped(item) for item in self.items(root, category)]

    def _grouped(self, item: Item) -> Item:
        found = re.search(self.group_by, item.path) if self.group_by else None
        if found is None:
            return item
        matched = "/".join(part or "" for part in found.groups()) or found.group()
        return replace(item, group=matched) if matched else item


def contents(root: Path, items: Sequence[Item]) -> dict[str, str]:
    """Hash of the contents of every image and mask, by path."""
    files = {file for item in items for file in (item.path, item.mask) if file is not None}
    return {file: hashlib.sha256((root / file).read_bytes()).hexdigest() for file in sorted(files)}


def fingerprint(items: Sequence[Item], hashes: Mapping[str, str]) -> str:
    """Hash of what the items say and of the `contents` of their files; where these lie plays no part."""
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.path):
        digest.update(repr(item).encode())
        for file in filter(None, (item.path, item.mask)):
            digest.update(bytes.fromhex(hashes[file]))
    return digest.hexdigest()[:16]


def stable_hash(text: str) -> int:
    """A 64-bit hash that is the same in every process, unlike `hash`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _thin(items: list[Item], limit: int | None) -> list[Item]:
    if limit is None or len(items) <= limit:
        return items
    return sorted(items, key=lambda item: stable_hash(item.path))[:limit]


def _check(name: str, root: Path, category: str, items: list[Item]) -> None:
    where = f"{name}/{category} in {root}"
    if not items:
        raise DataError(f"{where}: no images found.")
    if all(item.label != NORMAL for item in items):
        raise DataError(f"{where}: no normal images. Every method and threshold needs some.")
    for before, item in itertools.pairwise(items):
        if before.path == item.path:
            parts = f" (splits: {before.split}, {item.split})" if before.split != item.split else ""
            raise DataError(f"{where}: {item.path} is listed twice{parts}. List every image once.")
    for item in items:
        for file in filter(None, (item.path, item.mask)):
            try:
                empty = (root / file).stat().st_size == 0
            except OSError:
                raise DataError(f"{where}: {root / file} does not exist or cannot be read.") from None
            if empty:
                raise DataError(f"{where}: {root / file} is empty (0 bytes). Replace or remove it.")
