"""Networks and formulas of EfficientAD (Batzner et al. 2024): patch description networks, autoencoder, losses."""

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from anomalybench.core.errors import WeightsError

CHANNELS = 384
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LAYERS: dict[str, list[tuple[int, int, int] | None]] = {
    "small": [(128, 4, 3), None, (256, 4, 3), None, (256, 3, 1), (0, 4, 0)],
    "medium": [(256, 4, 3), None, (512, 4, 3), None, (512, 1, 0), (512, 3, 1), (CHANNELS, 4, 0), (0, 1, 0)],
}
"""Per convolution: channels (0: the outputs'), kernel, margin for a grid of a quarter's side; None is for pooling."""


class Pdn(nn.Sequential):
    """Patch description network: each output sees 33 x 33 pixels; a picture of side s gives s/4 - 8 cells a side.

    Args:
        kind: `small` or `medium`.
        outputs: Channels at the end.
    """

    def __init__(self, kind: str, outputs: int) -> None:
        layers: list[nn.Module] = []
        margins: list[int] = []
        before = 3
        for row in _LAYERS[kind]:
            if row is None:
                layers.append(nn.AvgPool2d(2, 2))
                margins.append(1)
                continue
            channels, kernel, margin = row
            layers += [nn.Conv2d(before, channels or outputs, kernel), nn.ReLU()]
            margins += [margin, 0]
            before = channels
        super().__init__(*layers[:-1])
        self._margins = margins

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """Output with margins of zeros, s/4 cells a side: for distillation from another network's grid."""
        for layer, margin in zip(self, self._margins, strict=False):
            x = layer(F.pad(x, (margin,) * 4))
        return x


def autoencoder(size: int) -> nn.Sequential:
    """From pictures to 384 channels on the grid of a PDN, through 64 numbers.

    The published resizing steps (3, 8, 15, 32, 63, 127, 56 at 256 pixels) and the code's kernel grow with `size`, a
    multiple of 32.
    """
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 32), (32, 64), (64, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
    layers.append(nn.Conv2d(64, 64, size // 32))
    for side in (size // 64 - 1, size // 32, size // 16 - 1, size // 8, size // 4 - 1, size // 2 - 1):
        layers += [nn.Upsample((max(1, side),) * 2, mode="bilinear"), nn.Conv2d(64, 64, 4, 1, 2), nn.ReLU()]
        layers.append(nn.Dropout(0.2))
    layers += [nn.Upsample((size // 4 - 8,) * 2, mode="bilinear"), nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(64, CHANNELS, 3, 1, 1))


class Networks(nn.Module):
    """The three networks that EfficientAD learns.

    Args:
        kind: As for `Pdn`.
        size: Side of the pictures.
    """

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        self.teacher, self.student = Pdn(kind, CHANNELS), Pdn(kind, 2 * CHANNELS)
        self.autoencoder = autoencoder(size)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] with ImageNet's mean and standard deviation, as the published teachers expect."""
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (MEAN, STD))
    return (pictures - mean) / std


def fill(teacher: Pdn, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Take weights over by their order, whatever their names; WeightsError if they are another network's."""
    own = teacher.state_dict()
    if [v.shape for v in weights.values()] != [v.shape for v in own.values()]:
        raise WeightsError(f"{source}: not the weights of this PDN with {CHANNELS} outputs. Does efficientad.pdn fit?")
    teacher.load_state_dict(dict(zip(own, weights.values(), strict=True)))


def hard_loss(errors: torch.Tensor, quantile: float) -> torch.Tensor:
    """Mean of the errors that are not below their `quantile`, interpolated linearly between two errors."""
    flat = errors.flatten()
    # torch.quantile refuses more than 2^24 values, which a picture of 1024 pixels has.
    below = math.ceil(quantile * (len(flat) - 1))
    return flat.topk(len(flat) - below, sorted=False).values.mean()


def scaled(maps: torch.Tensor, low: torch.Tensor | float, high: torch.Tensor | float) -> torch.Tensor:
    """Maps on the scale where `low` is 0 and `high` is .1."""
    return 0.1 * (maps - low) / max(float(high - low), 1e-12)
