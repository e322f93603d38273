"""A decoder that draws a frozen encoder's features again from one narrow code (Deng and Li 2022, RD4AD).

The teacher's layers are brought to the coarsest grid by strided 3 x 3 convolutions, concatenated and pressed by strided
residual blocks into the one-class embedding; the student mirrors the teacher's stages back to each grid, with a
transposed convolution where a stage begins. Only these two learn: the loss is 1 minus the cosine of teacher and student
per image and layer, the layer flattened; Adam 5e-3, betas .5 and .999, batches of 16, 200 epochs. The map adds the
layers' 1 - cosine per position, each brought to the input size with corners aligned, and is blurred with a Gaussian of
4 pixels; an image's score is its maximum. The paper's network is `timm:wide_resnet50_2`.

Differences from the authors' code, on purpose: blocks take their channels from the backbone, whatever it is, the inner
ones half of the outer ones (as in WideResNet-50-2, whose student this repeats); the student's features are taken before
the stage's last ReLU, since those of other teachers than ResNets may be negative; images go through the backbone's own
preprocessing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.method import Context, Images, Train
from anomalybench.methods._distillation import StudentMethod, targets
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._maps import full_maps
from anomalybench.methods._memory import parse_strides
from anomalybench.methods._network import Features
from anomalybench.vision import training


def flat_loss(teacher: Sequence[torch.Tensor], student: Sequence[torch.Tensor]) -> torch.Tensor:
    """1 - cosine of each image's flattened features, averaged over images, added over layers."""
    each = [1 - F.cosine_similarity(t.flatten(1), s.flatten(1)) for t, s in zip(teacher, student, strict=True)]
    return torch.stack(each).mean(1).sum()


def cosine_map(teacher: Sequence[torch.Tensor], student: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    """1 - cosine per position, each layer brought to size x size, added and blurred: n x size x size."""
    coarse = [1 - F.cosine_similarity(t, s) for t, s in zip(teacher, student, strict=True)]
    return torch.stack([full_maps(layer, size, align_corners=True) for layer in coarse]).sum(0)


class _Block(nn.Module):
    """ReLU of the input, then a residual block of three convolutions without the ReLU at its end.

    A chain of them is a chain of the usual blocks, but what is taken from between them may be negative.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        factor: Below 0 it divides the grid's side, above 1 it multiplies it.
    """

    def __init__(self, before: int, after: int, factor: int = 1) -> None:
        super().__init__()
        inner = max(1, after // 2)
        self.body = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            _resizing(inner, inner, factor), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if factor > 1:
            self.shortcut = nn.Sequential(_resizing(before, after, factor), nn.BatchNorm2d(after))
        elif factor < 0 or before != after:
            down = nn.Conv2d(before, after, 1, max(1, -factor), bias=False)
            self.shortcut = nn.Sequential(down, nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(x)
        y: torch.Tensor = self.body(x) + self.shortcut(x)
        return y


def _resizing(before: int, after: int, factor: int) -> nn.Module:
    if factor > 1:
        return nn.ConvTranspose2d(before, after, factor, factor, bias=False)
    return nn.Conv2d(before, after, 3, max(1, -factor), 1, bias=False)


class Student(nn.Module):
    """One-class bottleneck and decoder.

    Args:
        channels: Channels of the teacher's layers, the finest first.
        strides: Input pixels per cell of these layers.
        blocks: Residual blocks of the decoder's stages, the coarsest first; the bottleneck has as many as that one.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        last = channels[-1]
        code = 2 * last
        self.down = nn.ModuleList([self._fusion(channels[i:], strides[i:]) for i in range(len(channels))])
        first = _Block(last * len(channels), code, -2)
        self.bottleneck = nn.Sequential(first, *(_Block(code, code) for _ in range(blocks[0] - 1)))
        self.up = nn.ModuleList()
        before, stride = code, 2 * strides[-1]
        for after, finer, count in zip(channels[::-1], strides[::-1], blocks, strict=True):
            begin = _Block(before, after, stride // finer)
            self.up.append(nn.Sequential(begin, *(_Block(after, after) for _ in range(count - 1))))
            before, stride = after, finer

    def forward(self, teacher: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Features like the teacher's, the finest layer first."""
        x = self.bottleneck(torch.cat([down(layer) for down, layer in zip(self.down, teacher, strict=True)], 1))
        layers = []
        for stage in self.up:
            x = stage(x)
            layers.append(x)
        return layers[::-1]

    @staticmethod
    def _fusion(channels: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
        """From the first layer's grid to the last one's, by convolutions of stride 2 and the channels on the way."""
        layers: list[nn.Module] = []
        before, stride = channels[0], strides[0]
        for after, coarser in zip(channels[1:], strides[1:], strict=True):
            while stride < coarser:
                layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
                before, stride = after, 2 * stride
        return nn.Sequential(*layers)


@dataclass
class ReverseDistillation(StudentMethod):
    """Cosine distance between an encoder's features and their reconstruction."""

    learns_from = "normals"
    smoke: ClassVar[Mapping[str, Any]] = {"size": 64, "epochs": 15, "batch_size": 8, "blocks": "1,1,1"}

    backbone: Annotated[str, Field(description="see vision/backbones.py")] = "timm:tf_efficientnet_lite0"
    strides: Annotated[str | int, Field(description="layers, by input pixels per cell; the last one of each")] = (
        "4,8,16"
    )
    size: Annotated[
        int, Field(ge=32, le=2048, description="input side in pixels, a multiple of twice the coarsest stride")
    ] = 256
    blocks: Annotated[
        str | int, Field(description="residual blocks of the decoder's stages, the coarsest first; one per stride")
    ] = "3,4,6"
    epochs: Annotated[int, Field(ge=1, description="passes over the train images")] = 200
    batch_size: Annotated[int, Field(ge=2, description="images per step")] = 16
    learning_rate: Annotated[float, Field(gt=0, description="Adam's step size")] = 5e-3

    def fit(self, train: Train, context: Context) -> None:
        """Train bottleneck and decoder on the teacher's features of the normal images."""
        if not len(train.images):
            raise DataError("reverse_distillation needs at least one normal train image.")
        if len(train.images) == 1:
            context.notes.append("reverse_distillation: trained on a single image, whose features it learns by heart")
        with training.seeded(context.seed):
            self._build(context, pretrained=True)
            self._train(targets(self.frozen_, train.images), context)
        self.student_.eval()

    def check(self) -> None:
        """See `Method.check`; the decoder fits the strides and the size as well."""
        super().check()
        self._stages()

    def _maps(self, images: Images) -> torch.Tensor:
        """Cosine distances of all layers added and blurred."""
        return self._apart([layer.to(self.device_) for layer in self.frozen_(images)])

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        return lambda pictures: self._score(self._apart(features(pictures)))

    def _apart(self, teacher: Sequence[torch.Tensor]) -> torch.Tensor:
        return cosine_map(teacher, self.student_(teacher), self.size)

    def _student(self) -> Student:
        strides, blocks = self._stages()
        channels = [self.backbone_.channels[self.backbone_.end(stride) - 1] for stride in strides]
        return Student(channels, strides, blocks)

    def _stages(self) -> tuple[list[int], list[int]]:
        """Stride and number of blocks of each stage."""
        strides, blocks = parse_strides(self.strides), self._blocks()
        if len(blocks) != len(strides):
            raise UsageError(f"reverse_distillation.blocks = {self.blocks}: write one number per stride.")
        if self.size % (2 * strides[-1]):
            raise UsageError(
                f"reverse_distillation.size = {self.size}: it must be a multiple of {2 * strides[-1]}, twice the "
                f"coarsest stride."
            )
        return strides, blocks

    def _blocks(self) -> list[int]:
        try:
            blocks = [int(part) for part in str(self.blocks).split(",")]
        except ValueError:
            blocks = [0]
        if min(blocks) < 1:
            raise UsageError(f"reverse_distillation.blocks = {self.blocks}: write positive numbers, as in 3,4,6.")
        return blocks

    def _train(self, wanted: Sequence[torch.Tensor], context: Context) -> None:
        self.student_.train()
        optimizer = torch.optim.Adam(self.student_.parameters(), self.learning_rate, (0.5, 0.999))
        for epoch in range(self.epochs):
            for index in torch.randperm(len(wanted[0])).split(self.batch_size):
                teacher = [layer[index].to(context.device).float() for layer in wanted]
                optimizer.zero_grad()
                flat_loss(teacher, self.student_(teacher)).backward()
                optimizer.step()
            context.progress(epoch + 1, self.epochs)
