"""How far the mean brightness is from that of the normal images; fits in no time."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from anomalybench import Context, Images, Method, Prediction, Train


@dataclass
class Brightest(Method):
    """The score is the distance of the mean grey value from the normal median; the map does the same per pixel."""

    learns_from = "normals"

    size: Annotated[int, Field(ge=4, le=256, description="side of the maps in pixels")] = 16
    scale: Annotated[float, Field(gt=0, description="factor of all scores")] = 1.0

    def fit(self, train: Train, context: Context) -> None:
        """See `Method.fit`."""
        pictures = np.stack([self._grey(image) for image in train.images])
        self.mean_ = np.median(pictures.mean(axis=(1, 2)), keepdims=True)
        self.picture_ = np.median(pictures, axis=0)

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        pictures = np.stack([self._grey(image) for image in images])
        scores = np.abs(pictures.mean(axis=(1, 2)) - self.mean_)
        return Prediction(self.scale * scores, np.abs(pictures - self.picture_))

    def _grey(self, image: np.ndarray) -> np.ndarray:
        small = Image.fromarray(image).convert("L").resize((self.size, self.size), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.float64)
