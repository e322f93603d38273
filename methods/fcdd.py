"""Fully convolutional data description, one-class: its output map is the explanation (Liznerski et al. 2021).

The mean of the pseudo-Huber map is pulled to zero on normal images and pushed away on anomalous ones: confetti painted
on normal images, or labelled defects where the parameter asks for them. Differences from the authors' code, on purpose:
batch-norm statistics of the frozen prefix stand still; images go through the backbone's own preprocessing; the loss is
the image-label form (the authors' mask loss with all-one masks is the same on the up-sampled map); confetti is painted
at the input size. The paper's network is `torchvision:vgg11_bn`, MathWorks' `timm:inception_v3`, both at stride 8.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from anomalybench.core.errors import DataError
from anomalybench.core.method import Context, Images, Prediction, Supervision, Train
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.methods._receptive_field import ReceptiveField, receptive_field, upsample
from anomalybench.vision import backbones, synthetic_defects, training
from anomalybench.vision.features import Frozen
from anomalybench.vision.images import stack

Anomalies = Literal["confetti", "confetti_mathworks", "labelled"]


def pseudo_huber(output: torch.Tensor) -> torch.Tensor:
    """sqrt(x^2 + 1) - 1, without cancellation for small x."""
    return output**2 / (torch.sqrt(output**2 + 1) + 1)


def anomalous_loss(a: torch.Tensor, floor: float = 1e-31) -> torch.Tensor:
    """-log(1 - exp(-a)) for a >= 0, stable at both ends; its value at `floor` is its bound, as in the authors' code."""
    a = a.clamp_min(floor)
    small = a < math.log(2)  # each form loses digits where the other does not; `where` keeps NaN out of the gradient
    near = -torch.log(-torch.expm1(-torch.where(small, a, torch.ones_like(a))))
    far = -torch.log1p(-torch.exp(-torch.where(small, torch.ones_like(a), a)))
    return torch.where(small, near, far)


def fcdd_loss(maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of a (normal) or -log(1 - exp(-a)) (anomalous), a being the mean of each n x h x w map."""
    a = maps.flatten(1).mean(1)
    return torch.where(labels == 0, a, anomalous_loss(a)).mean()


class _Network(nn.Module):
    """Frozen prefix, trained tail, and a 1 x 1 convolution to the one-channel map."""

    def __init__(self, backbone: backbones.Backbone, stride: int) -> None:
        super().__init__()
        prefix, self.tail, channels = backbone.cut(stride)
        self.prefix = training.freeze(prefix)
        self.head = nn.Conv2d(channels, 1, 1)

    def maps(self, features: torch.Tensor) -> torch.Tensor:
        """Anomaly maps n x h x w, not negative, of the prefix's output."""
        return pseudo_huber(self.head(self.tail(features))[:, 0])


@dataclass
class Fcdd(NetworkMethod[_Network]):
    """Fully convolutional data description; the image score is the mean of the map."""

    version = 4
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64, "epochs": 10, "stride": 8, "learning_rate": 1e-3}

    backbone: Annotated[str, Field(description="see vision/backbones.py")] = "timm:tf_efficientnet_lite0"
    stride: Annotated[int, Field(ge=2, le=32, description="input pixels per map cell")] = 16
    size: Annotated[int, Field(ge=32, le=2048, description="input side in pixels")] = 224
    anomalies: Annotated[Anomalies, Field(description="painted on normal images, or labelled train images")] = (
        "confetti"
    )
    epochs: Annotated[int, Field(ge=1, description="passes over the train images")] = 15
    batch_size: Annotated[int, Field(ge=2, description="images per step")] = 16
    optimizer: Annotated[
        Literal["adam", "sgd"], Field(description="sgd: Nesterov momentum .9, the authors' choice")
    ] = "adam"
    learning_rate: Annotated[float, Field(gt=0, description="step size; the authors take 1e-3 with sgd")] = 1e-4
    decay: Annotated[float, Field(gt=0, le=1, description="learning rate's factor per epoch")] = 0.985
    weight_decay: Annotated[float, Field(ge=0, description="L2 penalty")] = 1e-4
    augment: Annotated[bool, Field(description="random quarter turns and flips, MathWorks' choice")] = False
    gauss_std: Annotated[float, Field(gt=0, description="standard deviation of the up-sampling kernel in pixels")] = (
        12.0
    )
    upsampling: Annotated[
        Literal["official", "normalised"], Field(description="normalised undoes the fall-off at the borders")
    ] = "official"

    def supervision(self) -> Supervision:
        """`labels` if it asks for labelled anomalies, else `normals`."""
        return "labels" if self.anomalies == "labelled" else "normals"

    def fit(self, train: Train, context: Context) -> None:
        """Train the tail and the last convolution; half of the images of each batch are anomalous."""
        labels = np.zeros(len(train.images), np.int64) if train.labels is None else train.labels
        if self.supervision() == "labels" and not labels.any():
            raise DataError("fcdd.anomalies = labelled needs anomalous train images; use confetti without them.")
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
            self._train(train.images, torch.from_numpy(labels), context)

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; maps are up-sampled with the receptive field's Gaussian."""
        return self._score(training.forward(self.network_.maps, self.frozen_(images)[0], self.device_)).prediction()

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        return lambda pictures: self._score(self.network_.maps(features(pictures)[0]))

    def _score(self, maps: torch.Tensor) -> Judgement:
        full = upsample(maps, self._field(), self.size, self.gauss_std, normalised=self.upsampling == "normalised")
        return Judgement(maps.double().mean((1, 2)), full)

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_ = backbones.load(self.backbone, pretrained=pretrained)
        self.network_ = _Network(self.backbone_, self.stride).to(context.device)
        self.network_.to(memory_format=torch.channels_last)
        self.device_ = context.device
        begin = self.backbone_.begin(self.stride)
        self.frozen_ = Frozen(self.backbone_, [begin], self.size, context.device, context.features)

    def _field(self) -> ReceptiveField:
        return receptive_field(nn.Sequential(self.network_.prefix, self.network_.tail), self.size)

    def _train(self, images: Images, truth: torch.Tensor, context: Context) -> None:
        network, pictures = self.network_, stack(images, self.size)
        normal, anomalous = pictures[truth == 0], pictures[truth == 1]
        parameters = [p for p in network.parameters() if p.requires_grad]
        if self.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(
                parameters, self.learning_rate, weight_decay=self.weight_decay
            )
        else:
            optimizer = torch.optim.SGD(
                parameters, self.learning_rate, 0.9, weight_decay=self.weight_decay, nesterov=True
            )
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay)
        features = None if self.augment else self.frozen_(images)[0][truth == 0]
        for epoch in range(self.epochs):
            for index in torch.randperm(len(normal)).split(max(1, self.batch_size // 2)):
                good = self._turned(normal[index])
                bad = self._turned(self._anomalies(good, anomalous, context.rng))
                seen = self.frozen_.tensor(good)[0] if features is None else features[index]
                x = torch.cat([seen, self.frozen_.tensor(bad)[0]]).to(context.device, memory_format=torch.channels_last)
                labels = torch.arange(len(x), device=context.device) >= len(index)
                optimizer.zero_grad()
                fcdd_loss(network.maps(x), labels).backward()
                optimizer.step()
            schedule.step()
            context.progress(epoch + 1, self.epochs)

    def _turned(self, batch: torch.Tensor) -> torch.Tensor:
        """Each image turned by a random multiple of 90 degrees and flipped at random, if the parameter asks for it."""
        if not self.augment:
            return batch
        turns, flips = torch.randint(4, (len(batch),)).tolist(), torch.randint(2, (len(batch),)).tolist()
        turned = [image.rot90(k, (1, 2)) for image, k in zip(batch, turns, strict=True)]
        return torch.stack([image.flip(2) if flip else image for image, flip in zip(turned, flips, strict=True)])

    def _anomalies(self, normal: torch.Tensor, anomalous: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        if self.anomalies == "labelled":
            return anomalous[rng.integers(0, len(anomalous), len(normal))]
        paint = synthetic_defects.official if self.anomalies == "confetti" else synthetic_defects.mathworks
        painted = [paint(image.permute(1, 2, 0).numpy(), rng) for image in normal]
        return torch.from_numpy(np.stack(painted)).permute(0, 3, 1, 2)
