"""Ordinary supervised classifier, explained afterwards by Grad-CAM and its relatives (Selvaraju et al. 2017).

The classifier has the backbone's own pooling and a fresh linear layer, trained on image labels as `cam` is; with
`head = gap` it is cam's very classifier, and shares its training. Formulas and sources: `_explainers.py`.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from anomalybench.methods._cam import ClassifierMethod, Head
from anomalybench.methods._explainers import Explainer, explain


@dataclass
class GradCam(ClassifierMethod):
    """Classifier with an explanation of choice."""

    explainer: Annotated[Explainer, Field(description="how the map is made")] = "gradcam"
    head: Annotated[Head, Field(description="own: the backbone's pooling; the others are cam's classifiers")] = "own"

    @property
    def classifier_head(self) -> Head:
        """The parameter `head`."""
        return self.head

    @property
    def explains_input(self) -> bool:
        """Score-CAM and occlusion do."""
        return self.explainer in ("scorecam", "occlusion")

    def explanation(self, x: torch.Tensor | None, features: torch.Tensor) -> torch.Tensor:
        """Map by the parameter `explainer`."""
        return explain(self.network_, x, features, self.explainer)
