"""A model put to use: images in, scores, maps and verdicts out; with the engine that fitted it, or an exported file.

    model = anomalybench.load_model("results/models/pill/3")
    model("part-0041.png")            # a Verdict; a notebook shows it as a picture

Loading an exported file needs neither torch nor the method: only ONNX Runtime, or OpenVINO for its files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import UsageError
from anomalybench.core.method import ImageArrays, Images, Prediction
from anomalybench.core.model_card import ModelCard
from anomalybench.deploy.verdict import Verdict, judge
from anomalybench.vision.images import read_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

ENGINES = ("torch", "onnx", "openvino")
ONNX, OPENVINO = "model.onnx", "model.xml"
"""Names of exported files in a model's folder."""


class Model:
    """A fitted method with its threshold.

    Attributes:
        card: What it says of itself.
        engine: What computes: `torch`, `onnx` or `openvino`.

    Args:
        card: What it says of itself.
        run: From images to raw scores and maps; an image's result must not depend on the others.
        engine: What computes.
    """

    def __init__(self, card: ModelCard, run: Callable[[Images], Prediction], engine: str) -> None:
        self.card, self.engine, self._run = card, engine, run

    def with_card(self, card: ModelCard) -> "Model":
        """The same model with another card, as with the threshold of another rule."""
        return Model(card, self._run, self.engine)

    def predict(self, images: Images) -> Prediction:
        """Raw scores and maps of images."""
        return self._run(images)

    def verdicts(self, images: Images) -> list[Verdict]:
        """Score, verdict and boxes of each image."""
        prediction = self.predict(images)
        maps = [None] * len(images) if prediction.maps is None else prediction.maps.astype(np.float32)
        return [
            judge(float(score), self.card.decision.threshold, anomaly_map, self.card.maps, image)
            for score, anomaly_map, image in zip(prediction.scores, maps, images, strict=True)
        ]

    def __call__(self, image: "str | Path | NDArray[np.uint8] | Image") -> Verdict:
        """The verdict on one image.

        Args:
            image: A file, an RGB array (height x width x 3, uint8), or a picture of Pillow.

        Raises:
            DataError: The file cannot be read.
            UsageError: An array of another shape or kind.
        """
        return self.verdicts(ImageArrays([self._pixels(image)]))[0]

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        if isinstance(image, str | Path):
            return read_rgb(Path(image), self.card.bits)
        pixels = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UsageError(
                f"an image of shape {pixels.shape} and kind {pixels.dtype}: give height x width x 3 of uint8, in RGB."
            )
        return pixels
