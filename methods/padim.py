"""Gaussian per position of patch features (Defard et al. 2021, PaDiM).

The layers are repeated up to the finest grid and 100 of their channels taken at random; each position has its own mean
and covariance over the normal images, the latter with .01 added to its diagonal. A patch's score is its Mahalanobis
distance; maps are blurred, an image's score is its map's maximum.
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
from anomalybench.methods._memory import channels_at, frozen, parse_strides, patches, sides
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.vision import backbones, training


@dataclass
class Padim(NetworkMethod[nn.Sequential]):
    """Mahalanobis distance at each position."""

    version = 2
    learns_from = "normals"
    tensors = ("mean_", "factor_")
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64, "channels": 40}

    backbone: Annotated[str, Field(description="see vision/backbones.py")] = "timm:tf_efficientnet_lite0"
    strides: Annotated[str | int, Field(description="layers, by input pixels per cell; the last one of each")] = "8,16"
    size: Annotated[int, Field(ge=32, le=2048, description="input side in pixels")] = 256
    channels: Annotated[
        int, Field(ge=1, description="channels taken at random; all there are where there are fewer")
    ] = 100
    regulariser: Annotated[float, Field(gt=0, description="added to the diagonal of each covariance")] = 0.01

    def fit(self, train: Train, context: Context) -> None:
        """Mean and covariance at each position."""
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
        available = channels_at(self.backbone_, parse_strides(self.strides))
        taken = min(self.channels, available)
        self.channels_ = np.sort(context.rng.permutation(available)[:taken])
        if len(train.images) <= taken:
            context.notes.append(f"padim: only {len(train.images)} training images; PaDiM wants more than {taken}")
        rows = self._rows(self._taken(self.frozen_(train.images)))
        self.mean_ = rows.mean(1, keepdim=True)
        rows -= self.mean_
        rows /= max(1, len(train.images) - 1) ** 0.5
        covariance = rows.mT @ rows
        covariance.diagonal(dim1=1, dim2=2).add_(self.regulariser)
        # LAPACK's factor lies in columns: its transpose is in order without a copy, and is kept.
        self.factor_ = torch.linalg.cholesky(covariance).mT.contiguous()

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        return self._score(self.frozen_(images), self._solved).prediction()

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        # ONNX has no solver: products with the inverse, which differ by 1.1e-7 of the score on 10 images of hazelnut.
        unit = torch.eye(self.factor_.shape[-1], dtype=torch.float64)
        inverse = torch.cat(
            [torch.linalg.solve_triangular(part.double(), unit, upper=True).float() for part in self.factor_.split(256)]
        )
        return lambda pictures: self._score(features(pictures), lambda away: (away @ inverse).norm(dim=2))

    def _score(self, layers: Sequence[torch.Tensor], distances: Callable[[torch.Tensor], torch.Tensor]) -> Judgement:
        """Scores and maps, given Mahalanobis distances (positions x n) of differences to the mean."""
        taken = self._taken(layers)
        coarse = distances(self._rows(taken) - self.mean_).T.reshape(-1, *sides(taken))
        maps = full_maps(coarse, self.size)
        return Judgement(maps.flatten(1).amax(1), maps)

    def _solved(self, away: torch.Tensor) -> torch.Tensor:
        whitened = torch.linalg.solve_triangular(self.factor_.mT, away.mT, upper=False)
        lengths: torch.Tensor = whitened.norm(dim=1)
        return lengths

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_, self.device_ = backbones.load(self.backbone, pretrained=pretrained), context.device
        self.network_ = self.backbone_.layers
        self.frozen_ = frozen(self.backbone_, parse_strides(self.strides), self.size, context)

    def _taken(self, layers: Sequence[torch.Tensor]) -> torch.Tensor:
        return patches(layers, pool=False, upsample="nearest", channels=self.channels_)

    def _rows(self, features: torch.Tensor) -> torch.Tensor:
        """Features by position: positions x n x channels."""
        rows: torch.Tensor = features.flatten(2).permute(2, 0, 1).to(self.device_).contiguous()
        return rows
