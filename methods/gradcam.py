"""Ordinary supervised classifier, explained afterwards by Grad-CAM and its relatives (Selvaraju et al. 2017).

The classifier has the backbone's own pooling and a fresh linear layer, trained on image labels as `cam` is; with
`head = gap` it is cam's very classifier, and shares its training. Formulas and sources: `_explainers.py`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from pydantic import Field

from anomalybench.core.errors import UsageError
from anomalybench.methods._cam import ClassifierMethod, Explanation, Head
from anomalybench.methods._explainers import IN_CLOSED_FORM, Explainer, explain, explain_averaged

_TOO_OFTEN = "runs the network hundreds of times per picture"
_WHY_NOT: dict[Explainer, str] = {
    "eigencam": "needs a singular value decomposition, and ONNX has none",
    "scorecam": _TOO_OFTEN,
    "occlusion": _TOO_OFTEN,
}


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

    def traced_explanation(self) -> Explanation:
        """The explanation without its backward pass."""
        if self.explainer not in IN_CLOSED_FORM:
            raise UsageError(
                f"gradcam: has no graph with gradcam.explainer = {self.explainer}, which {_WHY_NOT[self.explainer]}. "
                f"Take one of {', '.join(IN_CLOSED_FORM)}."
            )
        if not self.network_.averages:
            raise UsageError(
                f"gradcam: has no graph with gradcam.head = {self.head} on {self.backbone}, whose gradients differ "
                "from cell to cell. Take gradcam.head = gap, or the method cam."
            )
        return partial(explain_averaged, self.network_, explainer=self.explainer)
