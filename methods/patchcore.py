"""Nearest neighbour in a coreset of normal patches' features (Roth et al. 2022, "Towards Total Recall").

Layers at strides 8 and 16, averaged over 3 x 3 neighbourhoods and concatenated on the finer grid; greedy k-centre in a
random projection to 128 dimensions keeps a tenth of them; a patch's score is its Euclidean distance to the nearest one
kept, an image's the greatest of its patches. The paper's re-weighting (its equation 7) is off by default, as in the
authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from anomalybench.core.method import Context, Images, Prediction, Train
from anomalybench.methods._memory import (
    channels_at,
    check_memory,
    coreset,
    frozen,
    full_maps,
    nearest,
    parse_strides,
    patches,
)
from anomalybench.methods._network import NetworkMethod
from anomalybench.vision import backbones, training


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
        features = patches(self.frozen_, train.images, pool=True, upsample="bilinear")
        rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1]).to(context.device)
        count = max(1, int(len(rows) * self.ratio))
        matrix = torch.from_numpy(context.rng.standard_normal((rows.shape[1], self.projection), np.float32))
        projected = rows @ matrix.to(rows) / self.projection**0.5 if self.projection < rows.shape[1] else rows
        kept, radius = coreset(projected, count, context.rng)
        self.radius_ = np.array(radius)
        self.memory_ = rows[kept].clone()

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; maps are distances, blurred; the score is taken before blurring."""
        features = patches(self.frozen_, images, pool=True, upsample="bilinear")
        n, channels, height, width = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(-1, channels).to(self.memory_)
        distances, places = nearest(rows, self.memory_)
        coarse = distances.reshape(n, height, width)
        scores, worst = coarse.flatten(1).max(1)
        if min(self.neighbours, len(self.memory_)) > 1:  # a neighbourhood of one would weigh every image 0
            worst = worst + torch.arange(n, device=worst.device) * height * width
            scores = scores * self._weight(rows[worst], places[worst, 0], scores)
        maps = full_maps(coarse, self.size)
        return Prediction(scores.double().cpu().numpy(), maps.cpu().numpy())

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_ = backbones.load(self.backbone, pretrained=pretrained)
        self.network_ = self.backbone_.layers
        self.frozen_ = frozen(self.backbone_, parse_strides(self.strides), self.size, context)

    def _check_budget(self, images: int) -> None:
        strides = parse_strides(self.strides)
        channels = channels_at(self.backbone_, strides)
        n = images * (-(-self.size // strides[0])) ** 2
        check_memory(n, channels, int(n * self.ratio), self.memory_gb, "patchcore")

    def _weight(self, rows: torch.Tensor, places: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Equation 7: 1 - softmax over the neighbourhood, in which a patch near a rare memory counts more."""
        centres = self.memory_[places]
        _, around = nearest(centres, self.memory_, self.neighbours)
        apart = (rows[:, None] - self.memory_[around]).norm(dim=2)
        return 1 - torch.exp(scores - apart.logsumexp(1))
