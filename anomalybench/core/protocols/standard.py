"""The dataset's own train and test parts; calibration is a share of its normal train images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from anomalybench.core.dataset import GOOD, Item
from anomalybench.core.errors import DataError
from anomalybench.core.protocol import Protocol, Split, defect_of, items_of, share_out, units_of


@dataclass(frozen=True)
class Standard(Protocol):
    """One split, as its authors made it."""

    trains_on_defects: ClassVar[bool] = False
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
        train, calibration = units_of(parts["train"]), units_of(parts["calibration"])
        if not calibration and self.calibration:
            normal = [unit for unit in train if defect_of(unit) == GOOD]
            own = share_out(normal, (1 - self.calibration, self.calibration), seed)
            train = [unit for unit in train if defect_of(unit) != GOOD] + units_of(own.train)
            calibration = units_of(own.calibration)
        try:
            return Split(items_of(train), items_of(calibration), items_of(units_of(parts["test"])))
        except ValueError as error:
            raise DataError(f"the dataset's own split leaks: {error}. Mend its groups or use pooled.") from None
