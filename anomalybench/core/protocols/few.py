"""Normal images and a few of each defect type, as when defects are rare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from anomalybench.core.dataset import GOOD, Item
from anomalybench.core.errors import DataError
from anomalybench.core.protocol import (
    Protocol,
    Share,
    Split,
    Unit,
    by_defect,
    check_shares,
    items_of,
    shuffled,
    units_of,
)


@dataclass(frozen=True)
class Few(Protocol):
    """One split; a number of images, or a share of them."""

    k: Annotated[int, Field(ge=1, description="train images per defect type")] = 2
    c: Annotated[int, Field(ge=0, description="calibration images per defect type")] = 2
    train: Annotated[int | Share, Field(description="normal train images: a number, or a share below 1")] = 0.6
    calibration: Annotated[int | Share, Field(description="normal calibration images: a number or a share")] = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.train, float) and isinstance(self.calibration, float):
            check_shares(self.train, self.calibration)
        if self.train < 0 or self.calibration < 0:
            raise ValueError("train and calibration must be positive")

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        parts: tuple[list[Unit], ...] = ([], [], [])
        for defect, units in by_defect(units_of(items)).items():
            train, calibration = self._wanted(defect, len(units))
            dealt = shuffled(units, seed, defect)
            parts[0].extend(dealt[:train])
            parts[1].extend(dealt[train : train + calibration])
            parts[2].extend(dealt[train + calibration :])
        return Split(*map(items_of, parts))

    def _wanted(self, defect: str, n: int) -> tuple[int, int]:
        normal = defect == GOOD
        train, calibration = (_count(self.train, n), _count(self.calibration, n)) if normal else (self.k, self.c)
        if n <= train + calibration:
            raise DataError(
                f"protocol few takes {train} + {calibration} '{defect}' images and leaves none of {n} to test. "
                "Lower few.k, few.c, few.train or few.calibration."
            )
        return train, calibration


def _count(wanted: float, n: int) -> int:
    return wanted if isinstance(wanted, int) else round(wanted * n)
