"""Frozen layers as a network for export, which gives in other runtimes the features that `Frozen` gives here.

`Frozen` rounds features to float16, and what was fitted knows rounded features only; so the exported network rounds
them too. OpenVINO drops casts to float16 and back (all 100,011 values tried came back unrounded), but keeps the
arithmetic below.
"""

import torch
from torch import nn

from anomalybench.vision.backbones import Backbone
from anomalybench.vision.inference import Tapped

LARGEST = float(torch.finfo(torch.float16).max)
_SPLIT = 2.0**13 + 1


class FrozenGraph(nn.Module):
    """From pictures to features, as `features.Frozen` computes them.

    Args:
        backbone: Its preprocessing counts.
        network: The layers, in eval mode on the CPU.
        normalise: As for `Frozen`.
    """

    def __init__(self, backbone: Backbone, network: Tapped, *, normalise: bool) -> None:
        super().__init__()
        self.network = network
        self._backbone, self._normalise = backbone, normalise

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Outputs n x c x h x w after each wanted layer, for pictures n x 3 x size x size in [0, 255]."""
        batch = self._backbone.normalise(pictures) if self._normalise else pictures.float() / 255
        return [rounded(layer) for layer in self.network(batch)]


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Float32 rounded to the 11 bits of float16, by Veltkamp's splitting (Dekker 1971).

    Equal to `.half().float()` bit by bit where that is 0 or at least 2**-14; below, float16 has fewer bits, and the
    difference is at most 3e-8. Greater values than float16 holds become the greatest that it does.
    """
    x = x.clamp(-LARGEST, LARGEST)
    high = x * _SPLIT
    return high - (high - x)
