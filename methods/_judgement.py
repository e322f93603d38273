"""Scores and maps as tensors: what `predict` turns into arrays, and what a network for export returns."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from anomalybench.core.method import Prediction


class Judgement(NamedTuple):
    """Raw output for n pictures.

    Attributes:
        scores: n scores.
        maps: n x size x size, or None for a method that cannot locate.
    """

    scores: torch.Tensor
    maps: torch.Tensor | None = None

    def prediction(self) -> Prediction:
        """The same as arrays in main memory."""
        maps = None if self.maps is None else self.maps.cpu().numpy()
        return Prediction(self.scores.double().cpu().numpy(), maps)


def joined(parts: Iterable[Prediction]) -> Prediction:
    """Predictions of several batches, all with maps, as one."""
    listed = list(parts)
    maps = [one.maps for one in listed if one.maps is not None]
    return Prediction(np.concatenate([one.scores for one in listed]), np.concatenate(maps))


class Judge(nn.Module):
    """A fitted method as a network: see `core.method.Graph`.

    Args:
        judge: From pictures n x 3 x side x side, float32 in [0, 255].
        parts: The networks that it uses: the export stores their weights, and takes no others that can learn.
    """

    def __init__(self, judge: Callable[[torch.Tensor], Judgement], *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self._judge = judge
        self.eval()

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Scores, or scores and maps, float32."""
        scores, maps = self._judge(pictures)
        return scores.float() if maps is None else (scores.float(), maps.float())
