"""Receptive fields of chains of convolutions, and up-sampling by their Gaussian (Liznerski et al. 2021, section 3)."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


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


def gaussian(size: int, std: float) -> torch.Tensor:
    """Kernel of size x size with peak 1 for odd sizes.

    An even kernel is the next smaller odd one with its centre doubled and halved in height, so its peak is .25; neither
    sums to 1. That is the authors' kernel.
    """
    odd = size - (size % 2 == 0)
    line = torch.exp(-0.5 * ((torch.arange(odd, dtype=torch.float64) - odd // 2) / std) ** 2)
    if size % 2 == 0:
        line = torch.cat([line[: odd // 2 + 1], line[odd // 2 :]]) / 2
    return torch.outer(line, line).float()


def upsample(maps: torch.Tensor, field: ReceptiveField, side: int, std: float, *, normalised: bool) -> torch.Tensor:
    """Spread each cell of n x h x w maps over its field: n x side x side.

    With `normalised`, the result is divided by the up-sampled map of ones, which undoes the kernel's gain (3.7 in the
    middle for a field of 62) and the fall-off towards the borders (down to .27 of it).
    """
    kernel = gaussian(field.size, std).to(maps)[None, None]
    spread = F.conv_transpose2d(maps[:, None], kernel, stride=field.stride)[:, 0]
    offset = math.floor((field.size - 1) / 2 - field.start)
    short = max(0, offset + side - spread.shape[-1])
    full = F.pad(spread, (max(0, -offset), short, max(0, -offset), short))
    begin = max(0, offset)
    cropped = full[:, begin : begin + side, begin : begin + side]
    if not normalised:
        return cropped
    ones = upsample(torch.ones_like(maps[:1]), field, side, std, normalised=False)
    return cropped / ones.clamp_min(torch.finfo(ones.dtype).tiny)


def _first(value: int | tuple[int, ...] | str) -> int:
    if isinstance(value, str):
        return 0
    return value if isinstance(value, int) else value[0]
