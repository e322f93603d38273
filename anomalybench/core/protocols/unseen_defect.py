"""One defect type is kept from train and calibration; the test part holds normal images and only that type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from anomalybench.core.dataset import ANOMALOUS, GOOD, Item
from anomalybench.core.errors import unknown
from anomalybench.core.protocol import Protocol, Share, Split, check_shares, defect_of, items_of, share_out, units_of


@dataclass(frozen=True)
class UnseenDefect(Protocol):
    """As many splits as defect types; all of them test the same normal images."""

    folds_need_items: ClassVar[bool] = True
    train: Annotated[Share, Field(description="share of the normal images to train on")] = 0.6
    calibration: Annotated[Share, Field(description="share of the normal images that fits the threshold")] = 0.2

    def __post_init__(self) -> None:
        check_shares(self.train, self.calibration)

    def folds(self, items: Sequence[Item]) -> list[str]:
        """One per defect type, named after it."""
        return sorted({item.defect for item in items if item.label == ANOMALOUS})

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        if fold not in (types := self.folds(items)):
            raise unknown("defect type", fold, types)
        units = units_of(items)
        unseen = [unit for unit in units if any(item.defect == fold for item in unit)]
        others = [unit for unit in units if unit not in unseen and defect_of(unit) != GOOD]
        total = self.train + self.calibration
        normal = share_out([u for u in units if defect_of(u) == GOOD], (self.train, self.calibration), seed)
        defects = share_out(others, (self.train / total, self.calibration / total), seed)
        tested = [item for unit in unseen for item in unit if item.defect in (fold, GOOD)]
        return Split(
            items_of([normal.train, defects.train]),
            items_of([normal.calibration, defects.calibration]),
            items_of([normal.test, tuple(tested)]),
        )
