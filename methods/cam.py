"""Supervised classifier whose class activation map shows what it saw (Zhou et al. 2016).

Frozen prefix, trained tail, global average pooling and a linear layer, trained on image labels. The map is the sum of
the last feature maps weighted by the anomalous class's weights. Recipe: O. Chernytska, "Explainable Defect Detection
Using Convolutional Neural Networks", of which `backbone="torchvision:vgg16", head="maxpool_avg", normalise=False` are
the code's settings and `head="gap"` the article's. Batch-norm statistics stand still in the tail too, as batches are
small.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

from anomalybench.core.errors import DataError
from anomalybench.core.method import Context, Images, Method, Prediction, Supervision, Train
from anomalybench.vision import backbones, images, training

Head = Literal["gap", "maxpool_avg", "single_unit"]


class _Network(nn.Module):
    """Frozen prefix, trained tail up to the feature maps, and a head of one linear layer, or two for `single_unit`."""

    def __init__(self, backbone: backbones.Backbone, head: Head) -> None:
        super().__init__()
        prefix, self.tail, channels = backbone.cut()
        self.prefix = training.freeze(prefix)
        self.max_pool_first = head == "maxpool_avg"
        widths = (channels, 1, 2) if head == "single_unit" else (channels, 2)
        self.head = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits n x 2 (good, anomalous) of feature maps n x channels x h x w."""
        if self.max_pool_first and min(features.shape[-2:]) > 1:
            features = F.max_pool2d(features, 2)
        pooled = features.mean(dim=(2, 3))
        for layer in self.head:
            pooled = layer(pooled)
        return pooled

    def class_weights(self) -> torch.Tensor:
        """Weight of each channel in the anomalous logit."""
        first, *rest = [cast(nn.Linear, layer).weight for layer in self.head]
        return (rest[0] @ first if rest else first)[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Margin (anomalous minus good logit) and flattened class activation map: n x (1 + h * w)."""
        features = self.tail(self.prefix(x))
        logits = self.logits(features)
        cam = torch.einsum("k,nkhw->nhw", self.class_weights(), features)
        return torch.cat([logits[:, 1:] - logits[:, :1], cam.flatten(1)], dim=1)


@dataclass
class Cam(Method):
    """Class activation mapping.

    The image score is the anomalous minus the good logit: the same order as the probability, without its saturation.
    """

    learns_from: ClassVar[Supervision] = "labels"  # type: ignore[misc]
    smoke: ClassVar[Mapping[str, Any]] = {
        "backbone": "timm:tf_efficientnet_lite0",
        "size": 64,
        "epochs": 4,
        "learning_rate": 1e-3,
    }

    backbone: Annotated[str, Field(description="see vision/backbones.py; torchvision:vgg16 is the article's")] = (
        "timm:tf_efficientnet_lite0"
    )
    head: Annotated[Head, Field(description="pooling and layers above the maps")] = "gap"
    size: Annotated[int, Field(ge=32, le=2048, description="input side in pixels")] = 224
    anomaly_weight: Annotated[
        Annotated[float, Field(gt=0)] | Literal["balanced"],
        Field(description="loss weight of anomalous images, good ones having 1"),
    ] = 3.0
    epochs: Annotated[int, Field(ge=1, description="at most this many passes")] = 10
    batch_size: Annotated[int, Field(ge=1, description="images per step")] = 10
    learning_rate: Annotated[float, Field(gt=0, description="Adam's step size")] = 1e-4
    stop_accuracy: Annotated[float, Field(gt=0, le=1, description="stop after an epoch of greater train accuracy")] = (
        0.98
    )
    rotation: Annotated[float, Field(ge=0, le=180, description="random rotation up to this many degrees")] = 0.0
    flips: Annotated[bool, Field(description="random flips, both ways")] = False
    normalise: Annotated[bool, Field(description="the backbone's mean and deviation; the article's code has none")] = (
        True
    )

    def fit(self, train: Train, context: Context) -> None:
        """Train tail and head; the frozen prefix runs once per image unless the images change every epoch."""
        labels = torch.from_numpy(np.asarray(train.labels))
        if labels.min() == labels.max():
            raise DataError(
                "cam needs normal and anomalous train images. Add the missing ones or use a one-class method."
            )
        with training.seeded(context.seed):
            self._build(context, weights=True)
            self._train(images.stack(train.images, self.size), labels, context)

    def predict(self, images_: Images) -> Prediction:
        """See `Method.predict`; the map is not rectified, so negative means good."""
        out = training.forward(self._forward, images.stack(images_, self.size), self.device_)
        side = round((out.shape[1] - 1) ** 0.5)
        maps = F.interpolate(out[:, None, 1:].unflatten(2, (side, side)), (self.size, self.size), mode="bilinear")
        return Prediction(out[:, 0].double().numpy(), maps[:, 0].numpy())

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Method.state`."""
        return training.to_arrays(self.network_)

    def restore(self, state: Mapping[str, NDArray[Any]], context: Context) -> None:
        """See `Method.restore`."""
        self._build(context, weights=False)
        training.from_arrays(self.network_, state)

    def _build(self, context: Context, *, weights: bool) -> None:
        name = self.backbone if weights else backbones.without_weights(self.backbone)
        self.backbone_ = backbones.load(name)
        self.network_ = _Network(self.backbone_, self.head).to(context.device)
        self.device_ = context.device

    def _input(self, batch: torch.Tensor) -> torch.Tensor:
        return self.backbone_.normalise(batch) if self.normalise else batch.float() / 255

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.network_(self._input(batch))

    def _train(self, pictures: torch.Tensor, labels: torch.Tensor, context: Context) -> None:
        network, augment = self.network_, self._augmentation()
        inputs = pictures
        if augment is None:
            inputs = training.forward(lambda x: network.prefix(self._input(x)), pictures, context.device)
        balanced = (labels == 0).sum() / (labels == 1).sum()
        weight = torch.tensor([1.0, balanced if self.anomaly_weight == "balanced" else self.anomaly_weight])
        loss = nn.CrossEntropyLoss(weight.to(context.device))
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], self.learning_rate)
        for epoch in range(self.epochs):
            right = 0
            for index in torch.randperm(len(labels)).split(self.batch_size):
                x, y = inputs[index].clone().to(context.device), labels[index].to(context.device)
                features = network.prefix(self._input(augment(x))) if augment is not None else x
                logits = network.logits(network.tail(features))
                optimizer.zero_grad()
                loss(logits, y).backward()
                optimizer.step()
                right += int((logits.argmax(1) == y).sum())
            context.progress(epoch + 1, self.epochs)
            if right / len(labels) > self.stop_accuracy:
                break

    def _augmentation(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        steps: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()] if self.flips else []
        if self.rotation:
            steps.append(v2.RandomRotation(self.rotation, v2.InterpolationMode.BILINEAR))
        if not steps:
            return None
        each = v2.Compose(steps)
        return lambda batch: torch.stack([each(image) for image in batch])
