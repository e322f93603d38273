"""What the methods that imitate a frozen network share: its features, images held out, prediction and fitted state."""

from abc import abstractmethod

import numpy as np
import torch
from torch import nn

from anomalybench.core.method import Context, Images, Prediction
from anomalybench.methods._judgement import Judgement
from anomalybench.methods._memory import frozen, parse_strides
from anomalybench.methods._network import NetworkMethod
from anomalybench.vision import backbones
from anomalybench.vision.features import Frozen
from anomalybench.vision.images import batches

_BATCH, _CHUNK = 16, 32


class StudentMethod(NetworkMethod[nn.ModuleDict]):
    """Base of the methods whose student imitates a frozen backbone, the teacher; its maps show where it fails to."""

    backbone: str
    strides: str | int
    size: int
    backbone_: backbones.Backbone
    student_: nn.Module

    @torch.no_grad()
    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`; the score is the map's maximum."""
        return self._score(torch.cat([self._maps(part).cpu() for part in batches(images, _BATCH)])).prediction()

    @staticmethod
    def _score(maps: torch.Tensor) -> Judgement:
        return Judgement(maps.flatten(1).amax(1), maps)

    def _build(self, context: Context, *, pretrained: bool) -> None:
        self.backbone_, self.device_ = backbones.load(self.backbone, pretrained=pretrained), context.device
        self.frozen_ = frozen(self.backbone_, parse_strides(self.strides), self.size, context)
        self.student_ = self._student().to(context.device)
        self.network_ = nn.ModuleDict({"teacher": self.backbone_.layers, "student": self.student_})

    @abstractmethod
    def _student(self) -> nn.Module:
        """Make what imitates `backbone_`."""

    @abstractmethod
    def _maps(self, images: Images) -> torch.Tensor:
        """Maps n x size x size."""


def targets(extract: Frozen, images: Images) -> list[torch.Tensor]:
    """Features of n images after each wanted layer, n x c x h x w.

    They are kept as float16, which loses nothing because `Frozen` rounds to it, and halves the memory.
    """
    parts = [[layer.half() for layer in extract(part)] for part in batches(images, _CHUNK)]
    return [torch.cat(layers) for layers in zip(*parts, strict=True)]


def hold_out(n: int, share: float, context: Context, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of the images to train on and of those held out, a random share of n.

    At least one is held out if `share` is positive, and at least one is trained on. Where there is one image only, it
    has both parts, and a note says so.

    Args:
        n: Number of train images.
        share: Share to hold out.
        context: Has the generator, and takes the note.
        name: The method's name, for the note.
    """
    order = torch.from_numpy(context.rng.permutation(n))
    if share <= 0:
        return order, order[:0]
    if n == 1:
        context.notes.append(f"{name}: nothing could be held out of one train image, so it was trained and checked on")
        return order, order
    held = int(np.clip(round(share * n), 1, n - 1))
    return order[held:], order[:held]
