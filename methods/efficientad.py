"""Student and autoencoder that imitate a small teacher network, EfficientAD (Batzner, Heckler and Koenig 2024).

A student predicts the outputs of a patch description network (PDN) and those of an autoencoder that imitates it too.
Losses: squared errors of the student beyond their .999 quantile; those of the autoencoder and of the student's second
half on pictures with brightness, contrast or saturation changed by up to a fifth; and the student's squared outputs on
unrelated pictures (the ImageNet penalty), which `penalty_images` supplies and which is left out without them. Adam
1e-4, weight decay 1e-5, 70,000 steps of one picture, the step a tenth in the last 5 %. Both error maps are scaled so
that their .9 and .995 quantiles on a tenth of the train images, held out, are 0 and .1, and averaged.

The paper distils its teacher on ImageNet from WideResNet-101 (60,000 steps of 16 pictures of 512 pixels). Those weights
are not at hand here: by default the teacher is distilled from the backbone on the train images themselves, which knows
less of the world and makes results weaker than the published ones. `file:WEIGHTS` takes published weights. Other
differences from the authors' code, on purpose: the image score is the map's maximum before its margin of zeros is
added, since the margin would hide all scores below 0; sizes other than 256 scale the autoencoder's grids.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as change

from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.method import Context, Images, Input, Prediction, Train, WeightsSource
from anomalybench.methods._distillation import hold_out
from anomalybench.methods._judgement import Judgement, joined
from anomalybench.methods._memory import frozen, parse_strides
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.methods._pdn import CHANNELS, MEAN, STD, Networks, fill, hard_loss, normalise, scaled
from anomalybench.vision import backbones, training
from anomalybench.vision.images import ImageFiles, batches, stack

_BATCH, _CHUNK, _MARGIN = 16, 32, 4
_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass
class EfficientAd(NetworkMethod[Networks]):
    """Errors of a student and an autoencoder that imitate a patch description network."""

    learns_from = "normals"
    tensors = ("mean_", "std_")
    smoke: ClassVar[Mapping[str, Any]] = {
        "size": 64, "steps": 20, "distillation_steps": 20, "distillation_batch": 1, "learning_rate": 1e-3,
        "hard_quantile": 0.9,
    }  # fmt: skip

    pdn: Annotated[Literal["small", "medium"], Field(description="EfficientAD-S or EfficientAD-M")] = "small"
    teacher: Annotated[
        str,
        Field(description="distilled (from the backbone on the train images), file:WEIGHTS, or random (to time it)"),
    ] = "distilled"
    backbone: Annotated[str, Field(description="what the teacher is distilled from; see vision/backbones.py")] = (
        "timm:tf_efficientnet_lite0"
    )
    strides: Annotated[str | int, Field(description="its layers, by input pixels per cell; the last one of each")] = (
        "8,16"
    )
    distillation_steps: Annotated[int, Field(ge=1, description="steps of distilling; the paper has 60000")] = 10000
    distillation_batch: Annotated[int, Field(ge=1, description="pictures per step of distilling")] = 16
    size: Annotated[int, Field(ge=64, le=1024, multiple_of=32, description="input side in pixels")] = 256
    steps: Annotated[int, Field(ge=1, description="steps of one picture")] = 70000
    learning_rate: Annotated[float, Field(gt=0, description="Adam's step size")] = 1e-4
    weight_decay: Annotated[float, Field(ge=0, description="L2 penalty")] = 1e-5
    hard_quantile: Annotated[
        float, Field(ge=0, lt=1, description="the student learns from errors beyond this quantile")
    ] = 0.999
    penalty_images: Annotated[str, Field(description="folder of any other pictures; empty: no penalty")] = ""
    validation: Annotated[
        float, Field(gt=0, lt=1, description="share of the train images that sets the maps' scales")
    ] = 0.1

    def fit(self, train: Train, context: Context) -> None:
        """Make the teacher, train student and autoencoder, and measure the maps' scales."""
        if not len(train.images):
            raise DataError("efficientad needs at least one normal train image.")
        weights = self._weights()
        others = self._others()
        trained, held = hold_out(len(train.images), self.validation, context, "efficientad")
        pictures = stack(train.images, self.size)
        with training.seeded(context.seed):
            self._build(context, pretrained=False)
            if weights is not None:
                fill(self.network_.teacher, weights, self.teacher)
            elif self.teacher == "random":
                context.notes.append("efficientad: the teacher has random weights, which is for measuring time only")
            else:
                self._distil(train.images, pictures, trained, context)
            self.network_.teacher.eval().requires_grad_(False)
            self._measure_teacher(pictures[trained])
            self._train(pictures[trained], others, context)
        self.network_.eval()
        self._measure_scales(pictures[held])

    @torch.no_grad()
    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; both error maps scaled and averaged, with the authors' margin of four zero cells."""
        return joined(self._score(stack(part, self.size)).prediction() for part in batches(images, _BATCH))

    def input(self) -> Input:
        """See `Method.input`; the networks see ImageNet's mean and deviation whatever the backbone."""
        return Input(self.size, MEAN, STD)

    def weights(self) -> WeightsSource | None:
        """See `Method.weights`: of the backbone that the teacher was distilled from, or of the teacher."""
        if self.teacher.startswith("file:"):
            return WeightsSource(self.teacher, f"file {Path(self.teacher).name}", "unknown")
        return None if self.teacher == "random" else super().weights()

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        return self._score

    def _score(self, pictures: torch.Tensor) -> Judgement:
        both = self._errors(pictures)
        coarse = torch.stack([scaled(m, *limits) / 2 for m, limits in zip(both, self.scales_, strict=True)]).sum(0)
        wide = F.pad(coarse[:, None], (_MARGIN,) * 4)
        full = F.interpolate(wide, (self.size, self.size), mode="bilinear")[:, 0]
        return Judgement(coarse.flatten(1).amax(1), full)

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.device_ = context.device
        self.network_ = Networks(self.pdn, self.size).to(context.device)

    def _weights(self) -> dict[str, torch.Tensor] | None:
        if self.teacher in ("distilled", "random"):
            return None
        if not self.teacher.startswith("file:"):
            raise UsageError(f"efficientad.teacher = {self.teacher!r}: write distilled, random or file:WEIGHTS.")
        return backbones.read_state_dict(Path(self.teacher.removeprefix("file:")))

    def _others(self) -> Images | None:
        """Pictures for the penalty, if it is asked for."""
        if not self.penalty_images:
            return None
        folder = Path(self.penalty_images).expanduser()
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _ENDINGS and not f.name.startswith("."))
        if not files:
            raise DataError(f"efficientad.penalty_images = {self.penalty_images}: no pictures there.")
        return ImageFiles(files)

    def _tensor(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures as uint8 on the device and as the networks expect them."""
        return normalise(pictures.to(self.device_).float() / 255)

    def _distil(self, images: Images, pictures: torch.Tensor, trained: torch.Tensor, context: Context) -> None:
        context.notes.append(
            f"efficientad: the teacher was distilled from {self.backbone} on {len(trained)} train images in "
            f"{self.distillation_steps} steps; the paper distils on ImageNet, so published results are not comparable"
        )
        wanted = self._wanted(images, context)
        mean, std = _moments(wanted[part].float() for part in trained.split(_BATCH))
        teacher = self.network_.teacher
        optimizer = self._optimizer([teacher])
        order = _endless(len(trained), min(self.distillation_batch, len(trained)))
        for step in range(self.distillation_steps):
            index = trained[next(order)]
            target = _spread(((wanted[index].float() - mean) / std).to(self.device_))
            optimizer.zero_grad()
            F.mse_loss(teacher.padded(self._tensor(pictures[index])), target).backward()
            optimizer.step()
            context.progress(step + 1, self.distillation_steps + self.steps)

    def _wanted(self, images: Images, context: Context) -> torch.Tensor:
        """The backbone's features of twice the size on the padded PDN's grid, at most 384 channels, as float16."""
        extract = frozen(backbones.load(self.backbone), parse_strides(self.strides), 2 * self.size, context)
        grid = (self.size // 4,) * 2
        parts = []
        for part in batches(images, _CHUNK):
            layers = [F.interpolate(layer, grid, mode="bilinear") for layer in extract(part)]
            joined = torch.cat(layers, 1)
            parts.append((_spread(joined) if joined.shape[1] > CHANNELS else joined).half())
        return torch.cat(parts)

    @torch.no_grad()
    def _measure_teacher(self, pictures: torch.Tensor) -> None:
        """Mean and standard deviation of each of the teacher's channels."""
        parts = (self.network_.teacher(self._tensor(part)).cpu() for part in pictures.split(_BATCH))
        self.mean_, self.std_ = (v.to(self.device_) for v in _moments(parts))

    def _train(self, pictures: torch.Tensor, others: Images | None, context: Context) -> None:
        student, coder = self.network_.student.train(), self.network_.autoencoder.train()
        optimizer = self._optimizer([student, coder])
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, int(0.95 * self.steps)), 0.1)
        before = self.distillation_steps if self.teacher == "distilled" else 0
        order = _endless(len(pictures), 1)
        for step in range(self.steps):
            picture = pictures[next(order)].to(self.device_)
            other = self._other(others).to(self.device_) if others is not None else None
            optimizer.zero_grad()
            self._loss(normalise(picture / 255), normalise(augmented(picture / 255)), other).backward()
            optimizer.step()
            schedule.step()
            context.progress(before + step + 1, before + self.steps)

    def _loss(self, x: torch.Tensor, changed: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        """All losses of one step; pictures go through a network together, which none of its layers can tell."""
        count = len(x)
        seen = torch.cat([x, changed] if other is None else [x, changed, other])
        student, drawn = self.network_.student(seen), self.network_.autoencoder(changed)
        wanted = self._teacher(seen[: 2 * count])
        first, second = student[:, :CHANNELS], student[:, CHANNELS:]
        loss = hard_loss((wanted[:count] - first[:count]) ** 2, self.hard_quantile)
        loss = loss + F.mse_loss(drawn, wanted[count:]) + F.mse_loss(second[count : 2 * count], drawn)
        return loss if other is None else loss + first[2 * count :].square().mean()

    def _other(self, others: Images) -> torch.Tensor:
        """The middle of a random unrelated picture at twice the size, grey in three cases of ten."""
        picture = stack(others[(i := int(torch.randint(len(others), ()))) : i + 1], 2 * self.size).float() / 255
        if torch.rand(()) < 0.3:
            picture = change.rgb_to_grayscale(picture, 3)
        return normalise(change.center_crop(picture, [self.size, self.size]))

    @torch.no_grad()
    def _teacher(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.network_.teacher(x)
        return (outputs - self.mean_) / self.std_

    def _errors(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors, averaged over channels, of student to teacher and of student to autoencoder: n x h x w."""
        x = self._tensor(pictures)
        student = self.network_.student(x)
        apart = (self._teacher(x) - student[:, :CHANNELS]).square().mean(1)
        return apart, (self.network_.autoencoder(x) - student[:, CHANNELS:]).square().mean(1)

    @torch.no_grad()
    def _measure_scales(self, pictures: torch.Tensor) -> None:
        """The .9 and .995 quantiles of both maps on the pictures held out: 2 x 2."""
        parts = [self._errors(part) for part in pictures.split(_BATCH)]
        maps = [torch.cat(kind).cpu().double().numpy() for kind in zip(*parts, strict=True)]
        self.scales_ = np.array([np.quantile(one, (0.9, 0.995)) for one in maps])

    def _optimizer(self, modules: Sequence[nn.Module]) -> torch.optim.Adam:
        parameters = [p for module in modules for p in module.parameters()]
        return torch.optim.Adam(parameters, self.learning_rate, weight_decay=self.weight_decay, fused=True)


def augmented(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] with brightness, contrast or saturation multiplied by .8 to 1.2, at random."""
    kinds = (change.adjust_brightness, change.adjust_contrast, change.adjust_saturation)
    changed: torch.Tensor = kinds[int(torch.randint(3, ()))](pictures, 0.8 + 0.4 * float(torch.rand(())))
    return changed


def _moments(parts: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over n x c x h x w parts, in one pass: 1 x c x 1 x 1 each."""
    count, total, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for part in parts:
        y = part.double()
        count += y[:, 0].numel()
        total, squares = total + y.sum((0, 2, 3), True), squares + y.square().sum((0, 2, 3), True)
    mean = total / count
    return mean.float(), (squares / count - mean**2).clamp_min(1e-12).sqrt().float()


def _spread(features: torch.Tensor) -> torch.Tensor:
    """Channels brought to 384 by averaging neighbours, or by repeating them where there are fewer."""
    n, channels, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(n, -1, channels)
    return F.adaptive_avg_pool1d(rows, CHANNELS).reshape(n, height, width, CHANNELS).permute(0, 3, 1, 2)


def _endless(n: int, batch: int) -> Iterator[torch.Tensor]:
    """Places of n pictures in random order, over and over, `batch` at a time."""
    while True:
        order = torch.randperm(n)
        yield from (part for part in order.split(batch) if len(part) == batch)
