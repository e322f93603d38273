"""Supervised classifier whose class activation map shows what it saw (Zhou et al. 2016).

Frozen prefix, trained tail, global average pooling and a linear layer, trained on image labels. The map is the sum of
the last feature maps weighted by the anomalous class's weights; it is not rectified, so negative means good. Recipe:
O. Chernytska, "Explainable Defect Detection Using Convolutional Neural Networks", of which `backbone =
torchvision:vgg16, head = maxpool_avg, normalise = false` are the code's settings and `head = gap` the article's.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from anomalybench.methods._cam import ClassifierMethod, Head


@dataclass
class Cam(ClassifierMethod):
    """Class activation mapping."""

    head: Annotated[
        Literal["gap", "maxpool_avg", "single_unit"], Field(description="pooling and layers above the maps")
    ] = "gap"

    @property
    def classifier_head(self) -> Head:
        """The parameter `head`."""
        return self.head

    def explanation(self, x: torch.Tensor | None, features: torch.Tensor) -> torch.Tensor:
        """Feature maps weighted by the anomalous class's weights."""
        return torch.einsum("k,nkhw->nhw", self.network_.class_weights(), features)
