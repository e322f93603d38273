"""A dataset: a named table of items, one category of which a job sees."""

import hashlib
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field

from anomalybench.core.errors import DataError, printable, unknown

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


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that a dataset does not use.

    Attributes:
        path: Relative to the dataset's root.
        reason: In a few words, the same for all files of a kind.
    """

    path: str
    reason: str


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
            description="regular expression on the path: images with the same match (or groups of it) show one part "
            "and stay in the same split"
        ),
    ] = ""

    def __post_init__(self) -> None:
        try:
            re.compile(self.group_by)
        except re.error as error:
            raise ValueError(f"group_by = {self.group_by!r} is no regular expression ({error})") from None

    @property
    def plugin(self) -> str:
        """The plugin's name: its module's file name."""
        return type(self).__module__.rpartition(".")[2]

    def root(self, data: Path | None) -> Path:
        """Folder the items' paths are relative to.

        Args:
            data: What `--data` or `ANOMALYBENCH_DATA` names: the dataset's folder, or one that holds it by its name.

        Raises:
            DataError: No folder is named or it does not exist.
        """
        source = f"\nSource: {self.source}"
        if data is None:
            raise DataError(f"{self.plugin}: no data folder. Pass --data DIR or set ANOMALYBENCH_DATA.{source}")
        if data.is_file():
            raise DataError(f"{self.plugin}: --data {printable(data)} is a file. Name the folder it lies in.{source}")
        if not data.is_dir():
            raise DataError(f"{self.plugin}: the data folder {printable(data)} does not exist.{source}")
        return data / self.plugin if (data / self.plugin).is_dir() else data

    def settled(self, root: Path) -> Self:
        """The dataset with every option filled in that depends on the folder, so that a job holds its value."""
        return self

    @abstractmethod
    def categories(self, root: Path) -> list[str]:
        """Names of the categories found in `root`, sorted."""

    @abstractmethod
    def items(self, root: Path, category: str) -> list[Item]:
        """Every item of one category, in any order."""

    def left_out(self, root: Path, category: str) -> list[LeftOut]:
        """Files and folders that lie among the category's images and are not used, sorted by path."""
        return []

    def load(self, root: Path, category: str, without: Collection[str] = ()) -> list[Item]:
        """Items of one category, sorted by path, thinned out by `max_normal` and `max_anomalous`.

        Files are not opened: `vision.file_checks` does that, for the items that this returns. So a broken file that is
        thinned out plays no part, and one that is left out as unreadable is not replaced by another.

        Args:
            root: Folder the items' paths are relative to.
            category: One of `categories`.
            without: Paths of images and masks that cannot be read: items with one of them are left out after thinning.

        Raises:
            UsageError: The category does not exist.
            DataError: No images, no normal image, an image twice, or `group_by` matches nothing.
        """
        self.check_category(root, category)
        items = sorted(self.grouped(root, category), key=lambda item: item.path)
        where = f"{self.plugin}/{category} in {printable(root)}"
        _check_list(where, items)
        kept = [item for item in self.thin(items) if item.path not in without and item.mask not in without]
        _check_labels(where, kept)
        return kept

    def check_category(self, root: Path, category: str) -> None:
        """UsageError with the known categories if there is none of this name."""
        if category not in (known := self.categories(root)):
            error = unknown(f"category of {self.plugin} in {printable(root)}", category, known)
            named = "" if "Known:" in str(error) else f" Known: {', '.join(known)}."
            raise type(error)(f"{error}{named}")

    def thin(self, items: Sequence[Item]) -> list[Item]:
        """As many of the items as `max_normal` and `max_anomalous` allow, sorted by path."""
        normal = [item for item in items if item.label == NORMAL]
        anomalous = [item for item in items if item.label == ANOMALOUS]
        kept = _thin(normal, self.max_normal) + _thin(anomalous, self.max_anomalous)
        return sorted(kept, key=lambda item: item.path)

    def grouped(self, root: Path, category: str) -> list[Item]:
        """`items`, grouped by `group_by`.

        Raises:
            DataError: There are items, and `group_by` matches none of them.
        """
        found = self.items(root, category)
        if not self.group_by or not found:
            return found
        items = [self._grouped(item) for item in found]
        if not any(_match(self.group_by, item.path) for item in found):
            raise DataError(
                f"--group-by {self.group_by} matches none of the {len(items)} paths of {self.plugin}/{category}, for "
                f"example {printable(min(item.path for item in items))}."
            )
        return items

    def _grouped(self, item: Item) -> Item:
        matched = _match(self.group_by, item.path)
        return replace(item, group=matched) if matched else item


def grouping(items: Sequence[Item]) -> str | None:
    """How the items are grouped, as in "14 groups from 42 images"; None where they are not."""
    groups = {item.group for item in items if item.group is not None}
    if not groups:
        return None
    n = sum(item.group is not None for item in items)
    single = f"; {len(items) - n} images stand alone" if n < len(items) else ""
    return f"{len(groups)} groups from {n} images{single}"


def left_out_summary(left: Sequence[LeftOut]) -> str | None:
    """How many files and folders are left out and why, with an example of each; None where there are none."""
    if not left:
        return None
    reasons: dict[str, list[str]] = {}
    for one in left:
        reasons.setdefault(one.reason, []).append(printable(one.path))
    named = (
        f"{len(paths)} {reason} ({', '.join(paths[:2])}{', ...' * (len(paths) > 2)})"
        for reason, paths in reasons.items()
    )
    return f"left out: {'; '.join(named)}"


def file_fault(root: Path, path: str) -> str | None:
    """Why a file cannot be opened: its name is not UTF-8, it does not exist or it is empty; None if it can."""
    try:
        path.encode()
        stat = (root / path).stat()
    except UnicodeEncodeError:
        return "its name is not UTF-8. Rename it."
    except (OSError, ValueError):
        return "does not exist or cannot be read."
    return "is empty (0 bytes). Replace or remove it." if stat.st_size == 0 else None


def contents(root: Path, items: Sequence[Item]) -> dict[str, str]:
    """Hash of the contents of every image and mask, by path.

    Four threads: 1,000 files of 200 KB take 0.07 s where one takes 0.11 s (two cores, files in the disk cache).
    """
    files = sorted({file for item in items for file in (item.path, item.mask) if file is not None})
    with ThreadPoolExecutor(4) as threads:
        return dict(zip(files, threads.map(lambda file: _sha256(root / file), files), strict=True))


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{printable(file)}: cannot be read ({error.strerror}).") from None


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
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8], "big")


def _thin(items: list[Item], limit: int | None) -> list[Item]:
    if limit is None or len(items) <= limit:
        return items
    return sorted(items, key=lambda item: stable_hash(item.path))[:limit]


def _match(pattern: str, path: str) -> str | None:
    """What of a path names its group: the match's groups, or all of it."""
    found = re.search(pattern, path)
    return None if found is None else "/".join(part or "" for part in found.groups()) or found.group() or None


def _check_list(where: str, items: Sequence[Item]) -> None:
    if not items:
        raise DataError(f"{where}: no images found.")
    for before, item in itertools.pairwise(items):
        if before.path == item.path:
            parts = f" (splits: {before.split}, {item.split})" if before.split != item.split else ""
            raise DataError(f"{where}: {printable(item.path)} is listed twice{parts}. List every image once.")


def _check_labels(where: str, items: Sequence[Item]) -> None:
    if all(item.label != NORMAL for item in items):
        raise DataError(f"{where}: no normal images. Every method and threshold needs some.")
