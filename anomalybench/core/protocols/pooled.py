"""All images pooled and stratified by defect type, whatever the dataset's own split says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from anomalybench.core.dataset import Item
from anomalybench.core.protocol import Protocol, Share, Split, check_shares, share_out, units_of


@dataclass(frozen=True)
class Pooled(Protocol):
    """One split of all images."""

    train: Annotated[Share, Field(description="share of the images to train on")] = 0.6
    calibration: Annotated[Share, Field(description="share that fits the threshold; the rest is the test part")] = 0.2

    def __post_init__(self) -> None:
        check_shares(self.train, self.calibration)

    def split(self, items: Sequence[Item], seed: int, fold: str) -> Split:
        """See `Protocol.split`."""
        return share_out(units_of(items), (self.train, self.calibration), seed)
