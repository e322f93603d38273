"""Nearest neighbour in a coreset of normal patches' features (Roth et al. 2022, "Towards Total Recall").

Layers at strides 8 and 16, averaged over 3 x 3 neighbourhoods and concatenated on the finer grid; greedy k-centre in a
random projection to 128 dimensions keeps a tenth of them; a patch's score is its Euclidean distance to the nearest one
kept, an image's the greatest of its patches. The paper's re-weighting (its equation 7) is off by default, as in the
authors' code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from anomalybench.core.method import Context, Images, Prediction, Train
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._maps import full_maps
from anomalybench.methods._memory import (
    channels_at,
    check_memory,
    coreset,
    frozen,
    nearest,
    nearest_at_once,
    parse_strides,
    patches,
    sides,
)
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.vision import backbones, training

Nearest = Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]
"""`nearest`, or what does the same."""


@dataclass
class PatchCore(NetworkMethod[nn.Sequential]):
    """Distance to a coreset of normal patches."""

    learns_from = "normals"
    tensors = ("memory_",)
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64}

    backbone: Annotated[str, Field(description="see vision/backbones.py")] = "timm:tf_efficientnet_lite0"
    strides: Annotated[str | int, Field(description="layers, by input pixels per cell; the last one of each")] = "8,16"
    size: Annotated[int, Field(ge=32, le=2048, description="input side in pixels")] = 256
    ratio: Annotated[float, Field(gt=0, le=1, description="share of the patches that the coreset keeps")] = 0.1
    projection: Annotated[int, Field(ge=1, description="dimensions in which the coreset is chosen")] = 128
    neighbours: Annotated[
        int, Field(ge=0, description="neighbours for the paper's re-weighting of the image score; 0 leaves it out")
    ] = 0
    memory_gb: Annotated[float, Field(gt=0, description="refuse a fit that needs more memory than that")] = 4.0

    def fit(self, train: Train, context: Context) -> None:
        """Keep a coreset of the normal images' patches."""
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
        self._check_budget(len(train.images))
        rows = self._rows(self._patches(self.frozen_(train.images))).to(context.device)
        count = max(1, int(len(rows) * self.ratio))
        matrix = torch.from_numpy(context.rng.standard_normal((rows.shape[1], self.projection), np.float32))
        projected = rows @ matrix.to(rows) / self.projection**0.5 if self.projection < rows.shape[1] else rows
        kept, radius = coreset(projected, count, context.rng)
        self.radius_ = np.array(radius)
        self.memory_ = rows[kept].clone()

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; maps are distances, blurred; the score is taken before blurring."""
        return self._score(self.frozen_(images), nearest).prediction()

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        return lambda pictures: self._score(features(pictures), nearest_at_once)

    def _score(self, layers: Sequence[torch.Tensor], near: Nearest) -> Judgement:
        """Scores and maps, given what finds nearest neighbours."""
        features = self._patches(layers)
        height, width = sides(features)
        rows = self._rows(features).to(self.memory_)
        distances, places = near(rows, self.memory_, 1)
        coarse = distances.reshape(-1, height, width)
        scores, worst = coarse.flatten(1).max(1)
        if min(self.neighbours, len(self.memory_)) > 1:  # a neighbourhood of one would weigh every image 0
            worst = worst + torch.arange(scores.shape[0], device=worst.device) * height * width
            centres = self.memory_[places[worst, 0]]
            _, around = near(centres, self.memory_, self.neighbours)
            scores = scores * self._weight(rows[worst], self.memory_[around], scores)
        return Judgement(scores, full_maps(coarse, self.size))

    @staticmethod
    def _weight(rows: torch.Tensor, around: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Equation 7: 1 - softmax over the neighbourhood, in which a patch near a rare memory counts more."""
        apart = (rows[:, None] - around).norm(dim=2)
        return 1 - torch.exp(scores - apart.logsumexp(1))

    @staticmethod
    def _patches(layers: Sequence[torch.Tensor]) -> torch.Tensor:
        return patches(layers, pool=True, upsample="bilinear")

    @staticmethod
    def _rows(features: torch.Tensor) -> torch.Tensor:
        """Patches of all images: (n h w) x channels."""
        return features.permute(0, 2, 3, 1).reshape(-1, int(features.shape[1]))

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_ = backbones.load(self.backbone, pretrained=pretrained)
        self.network_ = self.backbone_.layers
        self.frozen_ = frozen(self.backbone_, parse_strides(self.strides), self.size, context)

    def _check_budget(self, images: int) -> None:
        strides = parse_strides(self.strides)
        channels = channels_at(self.backbone_, strides)
        n = images * (-(-self.size // strides[0])) ** 2
        check_memory(n, channels, int(n * self.ratio), self.memory_gb, "patchcore")
