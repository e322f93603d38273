"""A student that matches its teacher's feature pyramid on normal images only (Wang et al. 2021, STFPM).

The student is the teacher's network with random weights. Loss: for each layer, half the squared distance of the feature
vectors, each scaled to length one, averaged over positions; the layers' losses are added. SGD as in the paper: .4,
momentum .9, weight decay 1e-4, batches of 32, 100 epochs; a fifth of the train images is held out and keeps the best
epoch. The map is the product of the layers' distance maps on the finest grid, brought to the input size; an image's
score is its maximum. The paper's network is `timm:resnet18` at strides 4, 8 and 16.

Differences from the authors' code, on purpose: images go through the backbone's own preprocessing; maps carry a factor
of 4096, which changes no order.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch.nn import functional as F

from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.method import Context, Images, Train
from anomalybench.methods._distillation import StudentMethod, hold_out, targets
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._memory import parse_strides, sides
from anomalybench.methods._network import Features
from anomalybench.vision import backbones, training
from anomalybench.vision.images import stack
from anomalybench.vision.inference import Tapped

_FACTOR = 4096.0
_BATCH = 16


def distances(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of the features' directions at each position, 0 to 2: n x c x h x w to n x h x w."""
    return (F.normalize(teacher) - F.normalize(student)).square().sum(1) / 2


def product_map(layers: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    """Product of distance maps n x h x w on the first one's grid, times 4096: n x size x size."""
    grid = sides(layers[0])
    product = layers[0] * _FACTOR
    for layer in layers[1:]:
        product = product * F.interpolate(layer[:, None], grid, mode="bilinear")[:, 0]
    return F.interpolate(product[:, None], (size, size), mode="bilinear")[:, 0]


@dataclass
class Stfpm(StudentMethod):
    """Distance between a teacher's features and those of a student that has seen normal images only."""

    learns_from = "normals"
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64, "epochs": 12, "batch_size": 8}

    backbone: Annotated[str, Field(description="see vision/backbones.py")] = "timm:tf_efficientnet_lite0"
    strides: Annotated[str | int, Field(description="layers, by input pixels per cell; the last one of each")] = (
        "4,8,16"
    )
    size: Annotated[int, Field(ge=32, le=2048, description="input side in pixels")] = 256
    epochs: Annotated[int, Field(ge=1, description="passes over the train images")] = 100
    batch_size: Annotated[int, Field(ge=1, description="images per step")] = 32
    learning_rate: Annotated[float, Field(gt=0, description="step size of SGD")] = 0.4
    momentum: Annotated[float, Field(ge=0, lt=1, description="momentum of SGD")] = 0.9
    weight_decay: Annotated[float, Field(ge=0, description="L2 penalty")] = 1e-4
    validation: Annotated[
        float, Field(ge=0, lt=1, description="share of the train images that picks the best epoch; 0 keeps the last")
    ] = 0.2

    def fit(self, train: Train, context: Context) -> None:
        """Train the student on the normal images."""
        if not len(train.images):
            raise DataError("stfpm needs at least one normal train image.")
        trained, held = hold_out(len(train.images), self.validation, context, "stfpm")
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
            self._train(train.images, trained, held, context)
        self.student_.eval()

    def _maps(self, images: Images) -> torch.Tensor:
        """Products of distances, times 4096."""
        return product_map(self._forward(stack(images, self.size), self.frozen_(images)), self.size)

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        return lambda pictures: self._score(product_map(self._forward(pictures, features(pictures)), self.size))

    def _student(self) -> Tapped:
        student = backbones.load(self.backbone, pretrained=False)
        return Tapped(student.layers, [student.end(stride) for stride in parse_strides(self.strides)])

    def _train(self, images: Images, trained: torch.Tensor, held: torch.Tensor, context: Context) -> None:
        pictures, wanted = stack(images, self.size), targets(self.frozen_, images)
        optimizer = torch.optim.SGD(
            self.student_.parameters(), self.learning_rate, self.momentum, weight_decay=self.weight_decay
        )
        best, least = None, torch.inf
        for epoch in range(self.epochs):
            self.student_.train()
            for index in trained[torch.randperm(len(trained))].split(self.batch_size):
                optimizer.zero_grad()
                layers = self._forward(pictures[index], [layer[index] for layer in wanted])
                loss = torch.stack([layer.mean() for layer in layers]).sum()
                loss.backward()
                optimizer.step()
            context.progress(epoch + 1, self.epochs)
            reached = self._loss(pictures, wanted, held) if len(held) else float(loss.detach())
            if not math.isfinite(reached):
                raise UsageError(f"stfpm: training diverged in epoch {epoch + 1}; lower stfpm.learning_rate.")
            if len(held) and reached < least:
                least = reached
                best = {name: value.clone() for name, value in self.student_.state_dict().items()}
        if best is not None:
            self.student_.load_state_dict(best)

    def _loss(self, pictures: torch.Tensor, wanted: Sequence[torch.Tensor], places: torch.Tensor) -> float:
        """Loss on some images, the student in eval mode."""
        self.student_.eval()
        total = 0.0
        for index in places.split(_BATCH):
            layers = self._distances(pictures[index], [layer[index] for layer in wanted])
            total += sum(float(layer.mean()) for layer in layers) * len(index)
        return total / len(places)

    @torch.no_grad()
    def _distances(self, pictures: torch.Tensor, wanted: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return self._forward(pictures, wanted)

    def _forward(self, pictures: torch.Tensor, wanted: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Distance map of each layer."""
        own = self.student_(self.backbone_.normalise(pictures.to(self.device_)))
        return [distances(t.to(self.device_).float(), s) for t, s in zip(wanted, own, strict=True)]
