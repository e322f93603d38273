"""Gaussian per position of patch features (Defard et al. 2021, PaDiM).

The layers are repeated up to the finest grid and 100 of their channels taken at random; each position has its own mean
and covariance over the normal images, the latter with .01 added to its diagonal. A patch's score is its Mahalanobis
distance; maps are blurred, an image's score is its map's maximum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from anomalybench.core.method import Context, Images, Method, Prediction, Supervision, Train
from anomalybench.methods._memory import frozen, full_maps, parse_strides, patches
from anomalybench.vision import backbones, training


@dataclass
class Padim(Method):
    """Mahalanobis distance at each position."""

    version: ClassVar[int] = 2
    learns_from: ClassVar[Supervision] = "normals"  # type: ignore[misc]
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
            self._build(self.backbone, context)
        known = sum(self.backbone_.channels[self.backbone_.end(s) - 1] for s in parse_strides(self.strides))
        taken = min(self.channels, known)
        self.channels_ = np.sort(context.rng.permutation(known)[:taken])
        if len(train.images) <= taken:
            context.notes.append(
                f"padim: covariances of {taken} channels from {len(train.images)} images rest on the regulariser"
            )
        rows = self._rows(self._patches(train.images))
        self.mean_ = rows.mean(1, keepdim=True)
        rows -= self.mean_
        rows /= max(1, len(train.images) - 1) ** 0.5
        covariance = rows.mT @ rows
        covariance.diagonal(dim1=1, dim2=2).add_(self.regulariser)
        # LAPACK's factor lies in columns: its transpose is in order without a copy, and is kept.
        self.factor_ = torch.linalg.cholesky(covariance).mT.contiguous()

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        features = self._patches(images)
        away = (self._rows(features) - self.mean_).mT
        distances = torch.linalg.solve_triangular(self.factor_.mT, away, upper=False).norm(dim=1)
        maps = full_maps(distances.T.reshape(len(features), *features.shape[2:]), self.size)
        return Prediction(maps.flatten(1).amax(1).double().cpu().numpy(), maps.cpu().numpy())

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Method.state`."""
        fitted = {"mean_": self.mean_.cpu().numpy(), "factor_": self.factor_.cpu().numpy(), "channels_": self.channels_}
        return fitted | training.to_arrays(self.backbone_.layers)

    def restore(self, state: Mapping[str, NDArray[Any]], context: Context) -> None:
        """See `Method.restore`."""
        weights = dict(state)
        self.channels_ = weights.pop("channels_")
        self.mean_, self.factor_ = (torch.from_numpy(weights.pop(n)).to(context.device) for n in ("mean_", "factor_"))
        self._build(backbones.without_weights(self.backbone), context)
        training.from_arrays(self.backbone_.layers, weights)

    def _build(self, name: str, context: Context) -> None:
        self.backbone_, self.device_ = backbones.load(name), context.device
        self.frozen_ = frozen(self.backbone_, parse_strides(self.strides), self.size, context)

    def _patches(self, images: Images) -> torch.Tensor:
        return patches(self.frozen_, images, pool=False, upsample="nearest", channels=self.channels_)

    def _rows(self, features: torch.Tensor) -> torch.Tensor:
        """Features by position: positions x n x channels."""
        return features.flatten(2).permute(2, 0, 1).to(self.device_).contiguous()
