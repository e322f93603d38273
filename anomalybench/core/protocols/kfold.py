"""k folds, each of them once the test part: every image is tested once."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from anomalybench.core.dataset import GOOD, Item
from anomalybench.core.errors import DataError
from anomalybench.core.protocol import Protocol, Share, Split, Unit, by_defect, items_of, share_out, shuffled, units_of


@dataclass(frozen=True)
class KFold(Protocol):
    """As many splits as folds."""

    k: Annotated[int, Field(ge=2, le=100, description="number of folds")] = 5
    calibration: Annotated[Share, Field(description="share of the other folds that fits the threshold")] = 0.25

    def folds(self, items: Sequence[Item]) -> list[str]:
        """One per fold."""
        return [str(i) for i in range(self.k)]

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        types = by_defect(units_of(items))
        normal = len(types.get(GOOD, ()))
        if normal < self.k:
            raise DataError(
                f"kfold with k = {self.k} needs at least {self.k} normal images (or groups of them), found {normal}. "
                f"Take fewer folds, as in --set kfold.k={max(2, normal)}, or add normal images."
            )
        dealt: list[list[Unit]] = [[] for _ in range(self.k)]
        turn = itertools.cycle(dealt)
        for defect, units in types.items():
            for unit in shuffled(units, seed, defect):
                next(turn).append(unit)
        test = dealt.pop(int(fold))
        rest = share_out(list(itertools.chain.from_iterable(dealt)), (1 - self.calibration, self.calibration), seed)
        return Split(rest.train, rest.calibration, items_of(test))
