"""What cam and gradcam share: a classifier in two halves, its training, and its fitted weights kept for siblings.

The frozen prefix runs once per image unless augmentation changes the images every epoch. Batch-norm statistics stand
still in the trained tail too, as batches are small. A fitted classifier is kept under a hash of all that determines it,
so that several explainers in one run share one training; each of them reports the seconds that this training took.
"""

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

from anomalybench.core.errors import DataError
from anomalybench.core.method import Context, Images, Input, Prediction, Train
from anomalybench.methods._judgement import Judgement, joined
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.vision import backbones, training
from anomalybench.vision.features import Frozen
from anomalybench.vision.images import stack

Head = Literal["gap", "maxpool_avg", "single_unit", "own"]
Explanation = Callable[[torch.Tensor], torch.Tensor]
"""From feature maps n x k x h x w to maps n x h x w."""


class Classifier(nn.Module):
    """Frozen prefix, trained tail up to the last feature maps, pooling, one linear layer (two for `single_unit`)."""

    def __init__(self, backbone: backbones.Backbone, head: Head) -> None:
        super().__init__()
        prefix, self.tail, channels = backbone.cut()
        self.prefix = training.freeze(prefix)
        self.pooling: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if head == "own":
            self.pooling, channels = backbone.pooling, backbone.pooled
        self.max_pool_first = head == "maxpool_avg"
        widths = (channels, 1, 2) if head == "single_unit" else (channels, 2)
        self.head = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Last feature maps n x k x h x w of normalised images."""
        maps: torch.Tensor = self.tail(self.prefix(x))
        return maps

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits n x 2 (good, anomalous) of feature maps n x k x h x w."""
        if self.max_pool_first and min(features.shape[-2:]) > 1:
            features = F.max_pool2d(features, 2)
        pooled: torch.Tensor = self.pooling(features)
        for layer in self.head:
            pooled = layer(pooled)
        return pooled

    @property
    def averages(self) -> bool:
        """Whether the logits are linear in the means of the feature maps."""
        first = next(iter(self.pooling.children()), None)
        means = isinstance(first, nn.AdaptiveAvgPool2d) and first.output_size in (1, (1, 1))
        return means and not self.max_pool_first

    def class_weights(self) -> torch.Tensor:
        """Weight of each channel in the anomalous logit of a globally pooled head."""
        first, *rest = [cast(nn.Linear, layer).weight for layer in self.head]
        return (rest[0] @ first if rest else first)[1]


@dataclass
class ClassifierMethod(NetworkMethod[Classifier]):
    """Base of the methods that explain a classifier: everything but the explanation.

    The image score is the anomalous minus the good logit: the same order as the probability, without its saturation.
    """

    version = 3
    learns_from = "labels"
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64, "epochs": 4, "learning_rate": 1e-3}

    backbone: Annotated[str, Field(description="see vision/backbones.py; torchvision:vgg16 is the article's")] = (
        "timm:tf_efficientnet_lite0"
    )
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

    @property
    def classifier_head(self) -> Head:
        """Which pooling and linear layers stand on the feature maps."""
        raise NotImplementedError

    @property
    def explains_input(self) -> bool:
        """Whether the explanation changes the image itself, and so has to see it."""
        return False

    def explanation(self, x: torch.Tensor | None, features: torch.Tensor) -> torch.Tensor:
        """Maps n x h x w of normalised images (None unless `explains_input`) and their feature maps."""
        raise NotImplementedError

    def fit(self, train: Train, context: Context) -> None:
        """Train tail and head, or take over what a sibling trained on the same images in the same way."""
        labels = torch.from_numpy(np.asarray(train.labels))
        if labels.min() == labels.max():
            raise DataError("a classifier needs normal and anomalous train images. Add some or use a one-class method.")
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
            kept = None if context.work is None else context.work / f"classifier-{self._key(train, context)}.npz"
            if kept is not None and self._take_over(kept):
                return
            start = time.perf_counter()
            self._train(train.images, labels, context)
        if kept is not None:
            with contextlib.suppress(OSError):  # a disk that is full or read-only: a sibling trains anew
                training.save_arrays(kept, {**self.state(), "fit_s": np.array(time.perf_counter() - start)})

    @torch.no_grad()
    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; maps are raw, brought to the input size bilinearly."""
        found = []
        frozen = self.frozen_(images)[0].split(32)
        pictures = stack(images, self.size).split(32) if self.explains_input else [None] * len(frozen)
        for before, seen in zip(frozen, pictures, strict=True):
            x = None if seen is None else self._input(seen.to(self.device_))
            found.append(self._score(before, partial(self.explanation, x)).prediction())
        return joined(found)

    def input(self) -> Input:
        """See `Method.input`."""
        return super().input() if self.normalise else Input(self.size)

    def traced_explanation(self) -> Explanation:
        """`explanation` in operations that ONNX has; UsageError if there are none for it."""
        return partial(self.explanation, None)

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        explanation = self.traced_explanation()
        return lambda pictures: self._score(features(pictures)[0], explanation)

    def _score(self, before: torch.Tensor, explanation: Explanation) -> Judgement:
        """Scores and maps from the prefix's output."""
        features = self.network_.tail(before.to(self.device_))
        logits = self.network_.logits(features)
        full = F.interpolate(explanation(features)[:, None], (self.size, self.size), mode="bilinear")[:, 0]
        return Judgement(logits[:, 1] - logits[:, 0], full)

    def _key(self, train: Train, context: Context) -> str:
        """Hash of all that the trained classifier follows from; its weights are there before it is trained."""
        hashes = getattr(train.images, "hashes", None)
        settings = {name: getattr(self, name) for name in ClassifierMethod.__dataclass_fields__}
        parts = [
            ClassifierMethod.version,
            torch.__version__,
            settings,
            self.classifier_head,
            training.state_hash(self.network_),
            context.seed,
            torch.device(context.device).type,
            np.asarray(train.labels).tolist(),
            hashes
            or [hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest() for image in train.images],
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def _take_over(self, kept: Path) -> bool:
        """Whether the file holds a trained classifier, which then is this one."""
        state = training.load_arrays(kept)
        if state is None or state.keys() != {*self.network_.state_dict(), "fit_s"}:
            return False
        self.reused_s = float(state.pop("fit_s"))
        training.from_arrays(self.network_, state)
        return True

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_ = backbones.load(self.backbone, pretrained=pretrained)
        self.network_ = Classifier(self.backbone_, self.classifier_head).to(context.device)
        self.network_.to(memory_format=torch.channels_last)
        self.device_ = context.device
        end = self.backbone_.begin(self.backbone_.strides[-1])
        self.frozen_ = Frozen(
            self.backbone_, [end], self.size, context.device, context.features, normalise=self.normalise
        )

    def _input(self, batch: torch.Tensor) -> torch.Tensor:
        return self.backbone_.normalise(batch) if self.normalise else batch.float() / 255

    def _train(self, images: Images, labels: torch.Tensor, context: Context) -> None:
        network, augment = self.network_, self._augmentation()
        inputs = self.frozen_(images)[0] if augment is None else stack(images, self.size)
        balanced = (labels == 0).sum() / (labels == 1).sum()
        weight = torch.tensor([1.0, balanced if self.anomaly_weight == "balanced" else self.anomaly_weight])
        loss = nn.CrossEntropyLoss(weight.to(context.device))
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], self.learning_rate)
        for epoch in range(self.epochs):
            right = 0
            for index in torch.randperm(len(labels)).split(self.batch_size):
                x = inputs[index].clone(memory_format=torch.channels_last).to(context.device)
                y = labels[index].to(context.device)
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
