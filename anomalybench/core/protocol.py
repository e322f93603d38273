"""What a protocol is: a way to cut the items of one category into train, calibration and test.

The unit is the group (an image without one is its own group), so that shots of one object never end up on both sides.
Each defect type is shuffled and shared out by itself. The rounding error of one type is carried to the next, so that
small types together still give every part its share. The seed decides in which order the types take their turn, and
which part gets the odd image of a first small type, so that no type is kept from the test part under every seed.
"""

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anomalybench.core.dataset import ANOMALOUS, GOOD, Item

Unit = tuple[Item, ...]
"""The items of one group: always in the same part."""
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
    """Base of protocol plugins: a frozen dataclass whose fields are its parameters.

    Attributes:
        folds_need_items: The names of its folds depend on the items.
        trains_on_defects: It puts defects into the train part where there are enough; where it does not, methods that
            learn from labels are skipped.
    """

    folds_need_items: ClassVar[bool] = False
    trains_on_defects: ClassVar[bool] = True

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


def check_shares(train: float, calibration: float) -> None:
    """ValueError if the shares leave no test part."""
    if train + calibration >= 1:
        raise ValueError(f"train + calibration = {train + calibration:g} leaves no test part; it must be below 1")


def units_of(items: Iterable[Item]) -> list[Unit]:
    """The items by group, each without a group for itself, in an order that does not depend on theirs."""
    groups: dict[tuple[bool, str], list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.path):
        groups[(item.group is None, item.path if item.group is None else item.group)].append(item)
    return [tuple(groups[key]) for key in sorted(groups)]


def items_of(units: Iterable[Unit]) -> tuple[Item, ...]:
    """All items of the units, sorted by path."""
    return tuple(sorted(itertools.chain.from_iterable(units), key=lambda item: item.path))


def defect_of(unit: Unit) -> str:
    """The commonest defect type of a group, so that one defective shot among good ones counts as that defect."""
    defects = Counter(item.defect for item in unit if item.label == ANOMALOUS)
    return min(defects, key=lambda d: (-defects[d], d)) if defects else GOOD


def by_defect(units: Iterable[Unit]) -> dict[str, list[Unit]]:
    """Units by defect type, sorted by its name; the good ones are a type of their own."""
    found: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        found[defect_of(unit)].append(unit)
    return dict(sorted(found.items()))


def shuffled(units: Sequence[Unit], seed: int, defect: str) -> list[Unit]:
    """The units of one defect type in an order that the seed decides."""
    order = _generator(f"{seed}/{defect}").permutation(len(units))
    return [units[i] for i in order]


def share_out(units: Sequence[Unit], shares: tuple[float, float], seed: int) -> Split:
    """Share units out to train, calibration and test, the last getting what the first two shares leave."""
    wanted = np.array([*shares, max(0.0, 1 - sum(shares))])
    wanted[wanted < 1e-9] = 0
    debt = {True: np.zeros(3), False: np.zeros(3)}
    parts: tuple[list[Unit], ...] = ([], [], [])
    types = by_defect(units)
    rng = _generator(f"{seed}/order of the types")
    small = [defect for defect, members in types.items() if len(members) < np.count_nonzero(wanted)]
    drawn = [small[place] for place in rng.permutation(len(small))]
    for defect in [*(name for name in types if name not in small), *drawn]:
        members = types[defect]
        counts = _apportion(len(members), wanted, debt[defect == GOOD], rng)
        dealt = iter(shuffled(members, seed, defect))
        for part, count in zip(parts, counts, strict=True):
            part.extend(itertools.islice(dealt, count))
    return Split(*map(items_of, parts))


def _generator(text: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def _apportion(n: int, shares: NDArray[np.float64], debt: NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    """Whole numbers that sum to n: at least one for each part where n allows it, the rest by largest remainder.

    Where n does not allow it and no part is owed anything yet, the remainders are the chances of a draw.

    `debt` is what each part is still owed from earlier types; it is updated in place.
    """
    ideal = n * shares
    counts = np.floor(ideal + 1e-9).astype(int)
    enough = n >= np.count_nonzero(shares)
    least = (shares > 0).astype(int) * enough
    counts = np.maximum(counts, least)
    if counts.sum() < n and not enough and not debt.any():
        chances = np.clip(ideal - counts, 0, None)
        counts[rng.choice(len(shares), p=chances / chances.sum())] += 1
    while counts.sum() > n:
        counts[np.argmax(np.where(counts > least, counts - ideal - debt, -np.inf))] -= 1
    while counts.sum() < n:
        owed = np.where(shares > 0, ideal + debt - counts, -np.inf)
        counts[np.argmax(np.round(owed, 9))] += 1
    debt += ideal - counts
    return [int(count) for count in counts]
