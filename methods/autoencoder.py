"""Convolutional autoencoder: what it cannot redraw is anomalous (Bergmann et al. 2019, MVTec AD and SSIM-AE).

Network of the SSIM-AE: strided 4 x 4 convolutions down to an 8 x 8 grid, two 3 x 3 ones, and an 8 x 8 one to the latent
vector; the decoder mirrors it. Whole images by default; `patch` cuts textures into patches that overlap at test, their
residuals averaged. Differences from the paper, on purpose: trained on the images themselves, not on 10,000 augmented
copies; fewer passes with a greater step that falls along a cosine, so that a CPU trains it in minutes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from anomalybench.core.method import Context, Images, Input, Prediction, Train
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._network import Features, NetworkMethod
from anomalybench.vision import training
from anomalybench.vision.images import stack

_WINDOW = 11
_SIGMA = 1.5


def network(side: int, latent: int, channels: int) -> nn.Sequential:
    """Encoder and decoder for pictures of 128 or 256 pixels."""
    down = [(channels, 32, 4, 2), (32, 32, 4, 2), (32, 32, 3, 1), (32, 64, 4, 2), (64, 64, 3, 1), (64, 128, 4, 2)]
    if side == 256:
        down.insert(1, (32, 32, 4, 2))
    down += [(128, 64, 3, 1), (64, 32, 3, 1)]
    layers: list[nn.Module] = []
    for before, after, kernel, stride in down:
        layers += [nn.Conv2d(before, after, kernel, stride, 1), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(32, latent, 8), nn.ConvTranspose2d(latent, 32, 8), nn.LeakyReLU(0.2)]
    for after, before, kernel, stride in reversed(down):
        convolution = nn.ConvTranspose2d if stride == 2 else nn.Conv2d
        layers += [convolution(before, after, kernel, stride, 1), nn.LeakyReLU(0.2)]
    layers[-1] = nn.Sigmoid()
    return nn.Sequential(*layers)


def ssim_map(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Structural similarity (Wang et al. 2004) of pictures in [0, 1], window 11, sigma 1.5: n x h x w."""
    reach = _WINDOW // 2
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=a.device) / _SIGMA) ** 2)
    channels = int(a.shape[1])
    line = (line / line.sum()).repeat(channels, 1)

    def blur(x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, (reach, reach, reach, reach), mode="reflect")
        x = F.conv2d(x, line[:, None, :, None], groups=channels)
        return F.conv2d(x, line[:, None, None], groups=channels)

    mean_a, mean_b = blur(a), blur(b)
    spread_a, spread_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    shared = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * shared + c2) / (spread_a + spread_b + c2)
    return ((2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * structure).mean(1)


@dataclass
class Autoencoder(NetworkMethod[nn.Sequential]):
    """Residual between a picture and its reconstruction."""

    version = 2
    learns_from = "normals"
    smoke: ClassVar[Mapping[str, Any]] = {"epochs": 4, "batch_size": 4, "learning_rate": 2e-3}

    loss: Annotated[Literal["l2", "ssim", "ssim+l1"], Field(description="loss and residual")] = "ssim"
    size: Annotated[
        Literal[128, 256], Field(description="input side in pixels; of a patch where there are patches")
    ] = 128
    patch: Annotated[
        int, Field(ge=0, le=2048, description="cut pictures of this side into patches; 0: whole images")
    ] = 0
    patch_stride: Annotated[int, Field(ge=1, description="pixels from one patch to the next at test")] = 30
    colour: Annotated[bool, Field(description="three channels; otherwise grey")] = True
    latent: Annotated[int, Field(ge=1, description="length of the latent vector")] = 100
    epochs: Annotated[int, Field(ge=1, description="passes over the train images")] = 100
    batch_size: Annotated[int, Field(ge=1, description="pictures per step")] = 8
    learning_rate: Annotated[float, Field(gt=0, description="Adam's greatest step; the paper has 2e-4")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, description="L2 penalty")] = 1e-5
    top_share: Annotated[
        float,
        Field(
            ge=0, le=1, description="the score is the mean of this share of the map's greatest values; 0: its maximum"
        ),
    ] = 0.01

    def fit(self, train: Train, context: Context) -> None:
        """Learn to redraw the normal images."""
        pictures = self._pictures(train.images)
        with training.seeded(context.seed):
            self._build(context, pretrained=False)
            optimizer = torch.optim.Adam(self.network_.parameters(), self.learning_rate, weight_decay=self.weight_decay)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
            for epoch in range(self.epochs):
                for index in torch.randperm(len(pictures)).split(self.batch_size):
                    x = self._crop(pictures[index]).to(context.device, memory_format=torch.channels_last)
                    optimizer.zero_grad()
                    self._residual(x, self.network_(x)).mean().backward()
                    optimizer.step()
                schedule.step()
                context.progress(epoch + 1, self.epochs)

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; maps are residuals."""
        pictures = self._pictures(images)
        return self._score(torch.cat([self._map(picture[None]).cpu() for picture in pictures])).prediction()

    def input(self) -> Input:
        """See `Method.input`."""
        return Input(max(self.patch, self.size))

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        return lambda pictures: self._score(self._map(self._prepared(pictures)))

    def _score(self, maps: torch.Tensor) -> Judgement:
        side = self.input().side or self.size
        most = max(1, round(self.top_share * side**2))
        return Judgement(maps.flatten(1).topk(most).values.double().mean(1), self._resized(maps))

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.network_ = network(self.size, self.latent, 3 if self.colour else 1).to(context.device)
        self.network_.to(memory_format=torch.channels_last)
        self.device_ = context.device

    def _pictures(self, images: Images) -> torch.Tensor:
        """Whole pictures in [0, 1]: n x channels x side x side."""
        return self._prepared(stack(images, max(self.patch, self.size)))

    def _prepared(self, pictures: torch.Tensor) -> torch.Tensor:
        scaled = pictures.float() / 255
        return scaled if self.colour else scaled.mean(1, keepdim=True)

    def _crop(self, pictures: torch.Tensor) -> torch.Tensor:
        """The same random window of each picture, where there are patches."""
        room = pictures.shape[-1] - self.size
        if not room:
            return pictures
        top, left = torch.randint(room + 1, (2,)).tolist()
        return pictures[..., top : top + self.size, left : left + self.size]

    def _residual(self, x: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        if self.loss == "l2":
            return ((x - drawn) ** 2).mean(1)
        residual = 1 - ssim_map(x, drawn)
        return residual + (x - drawn).abs().mean(1) if self.loss == "ssim+l1" else residual

    @torch.no_grad()
    def _map(self, pictures: torch.Tensor) -> torch.Tensor:
        """Residuals, averaged where patches overlap: n x side x side."""
        side = max(self.patch, self.size)
        total, covered = torch.zeros(1, side, side, device=self.device_), torch.zeros(side, side, device=self.device_)
        for rows, columns in self._windows(side):
            x = pictures[..., rows, columns].to(self.device_)
            # Padded, not added in place, which an export would turn into a slow scatter.
            margins = (columns.start, side - columns.stop, rows.start, side - rows.stop)
            total = total + F.pad(self._residual(x, self.network_(x)), margins)
            covered[rows, columns] += 1
        return total / covered

    def _windows(self, side: int) -> Iterator[tuple[slice, slice]]:
        last = side - self.size
        starts = sorted({*range(0, last + 1, min(self.patch_stride, self.size)), last})  # without gaps
        return ((slice(t, t + self.size), slice(left, left + self.size)) for t in starts for left in starts)

    def _resized(self, maps: torch.Tensor) -> torch.Tensor:
        if self.patch <= self.size:
            return maps
        return F.interpolate(maps[:, None], (self.size, self.size), mode="bilinear")[:, 0]
