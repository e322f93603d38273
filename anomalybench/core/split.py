"""Protocols: how the items of one category are cut into train, calibration and test.

The unit is the group (an image without one is its own group), so that shots of one object never end up on both sides.
Each defect type is shuffled and shared out by itself; the rounding error of one type is carried to the next, so that
small types together still give every part its share.
"""

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from anomalybench.core.dataset import ANOMALOUS, GOOD, Item
from anomalybench.core.errors import DataError, unknown

Unit = tuple[Item, ...]
"""The items of one group: never torn apart."""
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Split:
    """Three parts that share no image and no group; building one that does raises ValueError."""

    train: tuple[Item, ...]
    calibration: tuple[Item, ...]
    test: tuple[Item, ...]

    def __post_init__(self) -> None:
        parts = (self.train, self.calibration, self.test)
        for a, b in itertools.combinations(parts, 2):
            shared = ({i.path for i in a} & {i.path for i in b}) | ({i.group for i in a} & {i.group for i in b})
            if shared - {None}:
                raise ValueError(f"parts share {sorted(filter(None, shared))[:3]}")


class Protocol(ABC):
    """A way to cut a split; its fields are its parameters."""

    name: ClassVar[str]
    folds_need_items: ClassVar[bool] = False

    def folds(self, items: Sequence[Item]) -> list[str]:
        """Names of the splits it makes of one category; a single unnamed one by default.

        `items` may be empty unless `folds_need_items`.
        """
        return [""]

    @abstractmethod
    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """Cut `items`, the same way whatever their order.

        Raises:
            DataError: The category cannot be cut that way.
        """


@dataclass(frozen=True)
class Pooled(Protocol):
    """All images pooled and stratified by defect type, whatever the dataset's own split says."""

    name = "pooled"
    train: Annotated[Share, Field(description="share of the images to train on")] = 0.6
    calibration: Annotated[Share, Field(description="share that fits the threshold; the rest is the test part")] = 0.2

    def __post_init__(self) -> None:
        _check_shares(self.train, self.calibration)

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        return Split(*_share_out(_units(items), (self.train, self.calibration), seed))


@dataclass(frozen=True)
class KFold(Protocol):
    """k folds, each of them once the test part: every image is tested once."""

    name = "kfold"
    k: Annotated[int, Field(ge=2, le=100, description="number of folds")] = 5
    calibration: Annotated[Share, Field(description="share of the other folds that fits the threshold")] = 0.25

    def folds(self, items: Sequence[Item]) -> list[str]:
        """One per fold."""
        return [str(i) for i in range(self.k)]

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        normal = sum(_stratum(unit) == GOOD for unit in _units(items))
        if normal < self.k:
            raise DataError(
                f"kfold with k = {self.k} needs at least {self.k} normal images (or groups of them), found {normal}. "
                "Lower kfold.k."
            )
        dealt: list[list[Unit]] = [[] for _ in range(self.k)]
        place = 0
        for stratum, units in _strata(_units(items)):
            for unit in _shuffled(units, seed, stratum):
                dealt[place % self.k].append(unit)
                place += 1
        test = dealt.pop(int(fold))
        rest = list(itertools.chain.from_iterable(dealt))
        train, calibration, _ = _share_out(rest, (1 - self.calibration, self.calibration), seed)
        return Split(train, calibration, _items(test))


@dataclass(frozen=True)
class Standard(Protocol):
    """The dataset's own train and test parts; calibration is a share of its normal train images."""

    name = "standard"
    calibration: Annotated[
        float, Field(ge=0, lt=1, description="share of the normal train images that fits the threshold")
    ] = 0.2

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        parts: dict[str | None, list[Item]] = defaultdict(list)
        for item in items:
            parts[item.split].append(item)
        if not parts["train"] or not parts["test"]:
            raise DataError("protocol standard needs the dataset's own train and test parts. Use pooled or kfold.")
        if parts["calibration"] or self.calibration == 0:
            train, calibration = _items(_units(parts["train"])), _items(_units(parts["calibration"]))
        else:
            normal = [unit for unit in _units(parts["train"]) if _stratum(unit) == GOOD]
            kept, calibration, _ = _share_out(normal, (1 - self.calibration, self.calibration), seed)
            defective = [unit for unit in _units(parts["train"]) if _stratum(unit) != GOOD]
            train = tuple(sorted((*kept, *_items(defective)), key=lambda i: i.path))
        try:
            return Split(train, calibration, _items(_units(parts["test"])))
        except ValueError as error:
            raise DataError(f"the dataset's own split leaks: {error}. Mend its groups or use pooled.") from None


@dataclass(frozen=True)
class Few(Protocol):
    """Normal images and a few of each defect type, as when defects are rare."""

    name = "few"
    k: Annotated[int, Field(ge=1, description="train images per defect type")] = 2
    c: Annotated[int, Field(ge=0, description="calibration images per defect type")] = 2
    train: Annotated[int | Share, Field(description="normal train images: a number, or a share below 1")] = 0.6
    calibration: Annotated[int | Share, Field(description="normal calibration images: a number or a share")] = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.train, float) and isinstance(self.calibration, float):
            _check_shares(self.train, self.calibration)
        if self.train < 0 or self.calibration < 0:
            raise ValueError("train and calibration must be positive")

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        parts: tuple[list[Unit], ...] = ([], [], [])
        for stratum, units in _strata(_units(items)):
            n = len(units)
            wanted = (_count(self.train, n), _count(self.calibration, n)) if stratum == GOOD else (self.k, self.c)
            if n <= sum(wanted):
                raise DataError(
                    f"protocol few takes {wanted[0]} + {wanted[1]} '{stratum}' images and leaves none of {n} to test. "
                    "Lower few.k, few.c, few.train or few.calibration."
                )
            shuffled = _shuffled(units, seed, stratum)
            for part, start, stop in zip(parts, (0, wanted[0], sum(wanted)), (wanted[0], sum(wanted), n), strict=True):
                part.extend(shuffled[start:stop])
        return Split(*map(_items, parts))


@dataclass(frozen=True)
class UnseenDefect(Protocol):
    """One defect type is kept from train and calibration; the test part holds normal images and only that type."""

    name = "unseen_defect"
    folds_need_items = True
    train: Annotated[Share, Field(description="share of the normal images to train on")] = 0.6
    calibration: Annotated[Share, Field(description="share of the normal images that fits the threshold")] = 0.2

    def __post_init__(self) -> None:
        _check_shares(self.train, self.calibration)

    def folds(self, items: Sequence[Item]) -> list[str]:
        """One per defect type, named after it."""
        return sorted({item.defect for item in items if item.label == ANOMALOUS})

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        if fold not in (known := self.folds(items)):
            raise unknown("defect type", fold, known)
        units = _units(items)
        held = [unit for unit in units if any(item.defect == fold for item in unit)]
        normal = [unit for unit in units if _stratum(unit) == GOOD]
        others = [unit for unit in units if unit not in held and _stratum(unit) != GOOD]
        train, calibration, test = _share_out(normal, (self.train, self.calibration), seed)
        total = self.train + self.calibration
        seen = _share_out(others, (self.train / total, self.calibration / total), seed)
        unseen = tuple(item for item in _items(held) if item.defect in (fold, GOOD))
        by_path = lambda item: item.path  # noqa: E731
        return Split(
            tuple(sorted((*train, *seen[0]), key=by_path)),
            tuple(sorted((*calibration, *seen[1]), key=by_path)),
            tuple(sorted((*test, *unseen), key=by_path)),
        )


PROTOCOLS: dict[str, type[Protocol]] = {p.name: p for p in (Pooled, KFold, Standard, Few, UnseenDefect)}


def _check_shares(train: float, calibration: float) -> None:
    if train + calibration >= 1:
        raise ValueError(f"train + calibration = {train + calibration:g} leaves no test part; it must be below 1")


def _count(wanted: float, n: int) -> int:
    return wanted if isinstance(wanted, int) else round(wanted * n)


def _units(items: Iterable[Item]) -> list[Unit]:
    groups: dict[tuple[bool, str], list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.path):
        groups[(item.group is None, item.path if item.group is None else item.group)].append(item)
    return [tuple(groups[key]) for key in sorted(groups)]


def _items(units: Iterable[Unit]) -> tuple[Item, ...]:
    return tuple(sorted(itertools.chain.from_iterable(units), key=lambda item: item.path))


def _stratum(unit: Unit) -> str:
    """The commonest defect type of a group, so that one defective shot among good ones counts as that defect."""
    defects = Counter(item.defect for item in unit if item.label == ANOMALOUS)
    return min(defects, key=lambda d: (-defects[d], d)) if defects else GOOD


def _strata(units: Iterable[Unit]) -> list[tuple[str, list[Unit]]]:
    strata: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        strata[_stratum(unit)].append(unit)
    return sorted(strata.items())


def _shuffled(units: Sequence[Unit], seed: int, stratum: str) -> list[Unit]:
    digest = hashlib.sha256(f"{seed}/{stratum}".encode()).digest()
    order = np.random.default_rng(list(digest)).permutation(len(units))
    return [units[i] for i in order]


def _share_out(units: Sequence[Unit], shares: tuple[float, float], seed: int) -> tuple[tuple[Item, ...], ...]:
    """Share units out to three parts, the third getting what the first two shares leave."""
    wanted = np.array([*shares, max(0.0, 1 - sum(shares))])
    wanted[wanted < 1e-9] = 0
    debt = {True: np.zeros(3), False: np.zeros(3)}
    parts: tuple[list[Unit], ...] = ([], [], [])
    for stratum, members in _strata(units):
        counts = _apportion(len(members), wanted, debt[stratum == GOOD])
        shuffled = iter(_shuffled(members, seed, stratum))
        for part, count in zip(parts, counts, strict=True):
            part.extend(itertools.islice(shuffled, count))
    return tuple(map(_items, parts))


def _apportion(n: int, shares: np.ndarray, debt: np.ndarray) -> list[int]:
    """Whole numbers that sum to n: at least one for each part where n allows it, the rest by largest remainder.

    `debt` is what each part is still owed from earlier strata; it is updated in place.
    """
    ideal = n * shares
    counts = np.floor(ideal + 1e-9).astype(int)
    least = (shares > 0).astype(int) * (n >= np.count_nonzero(shares))
    counts = np.maximum(counts, least)
    while counts.sum() > n:
        counts[np.argmax(np.where(counts > least, counts - ideal - debt, -np.inf))] -= 1
    while counts.sum() < n:
        owed = np.where(shares > 0, ideal + debt - counts, -np.inf)
        counts[np.argmax(np.round(owed, 9))] += 1
    debt += ideal - counts
    return [int(c) for c in counts]
