"""How far two models decide alike on the same images; and which one is right where they do not, if labels are known."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from anomalybench.evaluate.uncertainty import LEVEL, Interval


class Agreement(NamedTuple):
    """Two models' decisions on n images.

    Attributes:
        both_normal: Images that both call normal.
        only_a: Images that only a calls anomalous.
        only_b: Images that only b does.
        both_anomalous: Images that both call anomalous.
    """

    both_normal: int
    only_a: int
    only_b: int
    both_anomalous: int

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(self)

    @property
    def share(self) -> float:
        """Share of the images on which they agree; NaN without images."""
        return (self.both_normal + self.both_anomalous) / self.images if self.images else math.nan

    @property
    def interval(self) -> Interval:
        """95 % interval of the share (Wilson 1927)."""
        if not self.images:
            return Interval(math.nan, math.nan)
        agreed = stats.binomtest(self.both_normal + self.both_anomalous, self.images)
        found = agreed.proportion_ci(LEVEL, "wilson")
        return Interval(float(found.low), float(found.high))

    @property
    def kappa(self) -> float:
        """Agreement beyond chance (Cohen 1960): 1 if they always agree, 0 if no more often than by chance.

        NaN where both call all images the same: nothing is known of chance then.
        """
        n = self.images
        if not n:
            return math.nan
        a, b = self.only_a + self.both_anomalous, self.only_b + self.both_anomalous
        by_chance = (a * b + (n - a) * (n - b)) / n**2
        return (self.share - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan


class Rights(NamedTuple):
    """Images on which two models decide differently, and who is right.

    Attributes:
        a: Only a is right.
        b: Only b is right.
    """

    a: int
    b: int

    @property
    def p(self) -> float:
        """Two-sided p-value of McNemar's exact test: are both right equally often (McNemar 1947)? 1 without images."""
        return float(stats.binomtest(self.a, self.a + self.b).pvalue) if self.a + self.b else 1.0


def agreement(a: ArrayLike, b: ArrayLike) -> Agreement:
    """Count how two models decide.

    Args:
        a: n decisions of the one, true for anomalous.
        b: Those of the other, on the same images.
    """
    one, other = np.asarray(a, bool), np.asarray(b, bool)
    cells = (~one & ~other, one & ~other, ~one & other, one & other)
    return Agreement(*(int(cell.sum()) for cell in cells))


def rights(a: ArrayLike, b: ArrayLike, labels: ArrayLike) -> Rights:
    """Count who is right where they differ; arguments as for `agreement`, labels 0 or 1."""
    one, other, truth = (np.asarray(values, bool) for values in (a, b, labels))
    differ = one != other
    return Rights(int((differ & (one == truth)).sum()), int((differ & (other == truth)).sum()))
