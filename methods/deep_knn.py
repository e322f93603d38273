"""Floor with a network: distance to the nearest normal images in the pooled features of a frozen backbone.

Recipe: Reiss et al., "PANDA: Adapting Pretrained Features for Anomaly Detection" (2021), its baseline without
adaptation (DN2): globally pooled features of an ImageNet network, mean distance to the 2 nearest neighbours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from anomalybench.core.method import Context, Images, Prediction, Train
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._neighbours import nearest, nearest_tensors
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.vision import backbones, training
from anomalybench.vision.features import Frozen


@dataclass
class DeepKnn(NetworkMethod[nn.Sequential]):
    """Mean Euclidean distance to the k nearest normal images in feature space."""

    learns_from = "normals"
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64}

    backbone: Annotated[str, Field(description="see vision/backbones.py")] = "timm:tf_efficientnet_lite0"
    size: Annotated[int, Field(ge=32, le=2048, description="input side in pixels")] = 224
    k: Annotated[int, Field(ge=1, description="neighbours; all there are where there are fewer")] = 2

    def fit(self, train: Train, context: Context) -> None:
        """Keep the features of the normal images."""
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
        self.memory_ = self._features(train.images)

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        return Prediction(nearest(self._features(images), self.memory_, self.k).distances.mean(1))

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        memory = torch.from_numpy(self.memory_)
        return lambda pictures: Judgement(nearest_tensors(_pooled(features(pictures)), memory, self.k)[0].mean(1))

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_ = backbones.load(self.backbone, pretrained=pretrained)
        self.network_ = self.backbone_.layers
        training.freeze(self.network_).to(context.device)
        self.frozen_ = Frozen(self.backbone_, [len(self.network_)], self.size, context.device, context.features)

    def _features(self, images: Images) -> NDArray[np.float32]:
        """Means over the deepest map: n x channels."""
        return _pooled(self.frozen_(images)).numpy()


def _pooled(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    return layers[0].mean((2, 3))
