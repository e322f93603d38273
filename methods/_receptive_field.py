"""Receptive fields of chains of convolutions, and up-sampling by their Gaussian (Liznerski et al. 2021, section 3)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


@dataclass(frozen=True)
class ReceptiveField:
    """What one cell of the last map sees of the input, in input pixels.

    Attributes:
        size: Side of the field.
        stride: Distance between neighbouring fields.
        start: Centre of the first field.
    """

    size: int
    stride: int
    start: float


def receptive_field(layers: nn.Module, side: int) -> ReceptiveField:
    """Field of a chain for square images of `side`; where a block branches, an upper bound of its size.

    TensorFlow's uneven padding is taken as if it were even. By the letter, EfficientNet-Lite0's cells at stride 16 look
    7.5 px further down and right; but its weights were trained with that padding and make up for it: a square put into
    real images moved the map by 5 px too far by the letter, and by 2 px too little this way.
    """
    size, stride, start = 1, 1, 0.0
    for name, layer in layers.named_modules():
        if "downsample" in name or not isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            continue
        kernel, step = _first(layer.kernel_size), _first(layer.stride)
        padding: float = _first(layer.padding)
        if type(layer).__name__.endswith("Same"):
            padding = max((math.ceil(side / step) - 1) * step + kernel - side, 0) / 2
            side = math.ceil(side / step)
        else:
            side = (side + 2 * int(padding) - kernel) // step + 1
        start += ((kernel - 1) / 2 - padding) * stride
        size += (kernel - 1) * stride
        stride *= step
    return ReceptiveField(size, stride, start)


def gaussian(size: int, std: float) -> NDArray[np.float64]:
    """One axis of the kernel, which is its outer product with itself, of size x size with peak 1 for odd sizes.

    An even kernel is the next smaller odd one with its centre doubled and halved in height, so its peak is .25; neither
    sums to 1. That is the authors' kernel.
    """
    odd = size - (size % 2 == 0)
    line: NDArray[np.float64] = np.exp(-0.5 * ((np.arange(odd) - odd // 2) / std) ** 2)
    if size % 2 == 0:
        line = np.concatenate([line[: odd // 2 + 1], line[odd // 2 :]]) / 2
    return line


def upsample(maps: torch.Tensor, field: ReceptiveField, side: int, std: float, *, normalised: bool) -> torch.Tensor:
    """Spread each cell of n x h x w maps over its field: n x side x side.

    The kernel is separable, so that two products with matrices give what a transposed convolution does, up to
    rounding (8e-7 of each value). At 256 pixels with a field of 299 they take .07 ms per map, the convolution 12 ms.

    With `normalised`, the result is divided by the up-sampled map of ones, which undoes the kernel's gain (3.7 in the
    middle for a field of 62) and the fall-off towards the borders (down to .27 of it).
    """
    rows, columns = (_spread(int(cells), field, side, std) for cells in maps.shape[-2:])
    full = torch.from_numpy(rows).to(maps) @ maps @ torch.from_numpy(columns.T).to(maps)
    if not normalised:
        return full
    ones = np.outer(rows.sum(1), columns.sum(1)).clip(np.finfo(np.float32).tiny)
    return full / torch.from_numpy(ones).to(maps)


def _spread(cells: int, field: ReceptiveField, side: int, std: float) -> NDArray[np.float64]:
    """How much each cell of a line gives to each pixel: side x cells."""
    line = gaussian(field.size, std)
    offset = math.floor((field.size - 1) / 2 - field.start)
    places = np.arange(side)[:, None] + offset - field.stride * np.arange(cells)
    return np.where((places >= 0) & (places < field.size), line[places.clip(0, field.size - 1)], 0)


def _first(value: int | tuple[int, ...] | str) -> int:
    if isinstance(value, str):
        return 0
    return value if isinstance(value, int) else value[0]
