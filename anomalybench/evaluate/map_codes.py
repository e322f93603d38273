"""Anomaly maps as 16-bit codes that keep the order of their values, with the values beside them.

float16 does not keep the order: between 0.999 and 1 it has two values, and at 1,000 its steps are 0.5. Here a job's own
values share 65,536 codes instead. Up to that many distinct values are kept exactly. Beyond, values are merged by their
rank from the top: the highest 8,192 pixels keep codes of their own, and further down a code holds about 1/8,000 of the
pixels above it or fewer, since precision changes fast among the highest pixels and slowly elsewhere.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
CODES = 65536
_SINGLE = 8192
"""So many of the highest pixels are told apart in any case."""
_LEAST_STEPS = CODES // 4


@dataclass(frozen=True)
class MapCodes:
    """Maps as codes.

    Attributes:
        codes: n x h x w; a higher code stands for a higher value.
        values: The value of each code, strictly ascending: at most 65,536.
    """

    codes: NDArray[np.uint16]
    values: Values


def distinct(maps: Values) -> Values:
    """The `values` of `encode` alone.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    return _table(maps).values


def encode(maps: Values) -> MapCodes:
    """Codes of n x h x w maps; the value of a merged code is the median of its pixels.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    table = _table(maps)
    codes = np.empty(maps.shape, np.uint16)
    for one, row in zip(maps, codes, strict=True):
        row[:] = _coded(one.ravel(), table.lowest).reshape(one.shape)
    return MapCodes(codes, table.values)


def decode(coded: MapCodes) -> Values:
    """The maps again, as float32."""
    maps: Values = coded.values[coded.codes]
    return maps


def counting_edges(values: Values) -> Values:
    """Lower ends of the bins in which pixels are counted: the values, and steps between them, most among the highest.

    Maps are interpolated to the size of the masks, which makes new values between those of the job.

    Args:
        values: k distinct values, ascending, at most 65,536.
    """
    gaps = values.size - 1
    if gaps < 1:
        return values
    share = np.cumsum(1 / np.arange(gaps, 0, -1))
    more = np.floor(max(CODES - values.size, _LEAST_STEPS) * share / share[-1])
    steps = 1 + np.diff(more, prepend=0).astype(np.int64)
    within = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    places = np.r_[np.repeat(np.arange(gaps), steps) + within / np.repeat(steps, steps), gaps]
    edges: Values = np.asarray(np.interp(places, np.arange(values.size), values), np.float32)
    return edges


class _Table(NamedTuple):
    """Lowest and median value of each code."""

    lowest: Values
    values: Values


def _table(maps: Values) -> _Table:
    ordered = np.sort(maps, axis=None)
    if ordered.size and not np.isfinite(ordered[[0, -1]]).all():
        raise ValueError("a map holds NaN or infinite values")
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: ordered.size])
    if starts.size > CODES:
        starts = _merged(starts, ordered.size)
    ends = np.r_[starts[1:], ordered.size].astype(np.intp)
    return _Table(ordered[starts], ordered[(starts + ends) // 2])


def _merged(starts: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """First places of the merged codes, from those of the distinct values among `size` sorted ones."""
    step = np.log(size / _SINGLE) / (CODES - _SINGLE)
    above = np.r_[np.arange(1, _SINGLE), _SINGLE * np.exp(step * np.arange(CODES - _SINGLE))]
    ends = np.r_[starts[1:], size]
    first = np.searchsorted(ends, size - np.ceil(above[::-1]), "right")
    kept: NDArray[np.intp] = starts[np.unique(np.r_[0, first])]
    return kept


def _coded(one: Values, lowest: Values) -> NDArray[np.uint16]:
    """The place of each pixel's code; by sorting the pixels, four times as fast as a search for each."""
    order = np.argsort(one)
    found = np.searchsorted(one[order], lowest)
    counts = np.diff(np.r_[found, one.size])
    codes = np.empty(one.size, np.uint16)
    codes[order] = np.repeat(np.arange(lowest.size, dtype=np.uint16), counts)
    return codes
