"""Floor: Gaussian on brightness statistics of the normal images. What a defect detector must beat to need its network.

Per colour channel mean, standard deviation, 5 % and 95 % quantile, and the mean step between neighbouring pixels; the
score is the Mahalanobis distance to the normal images' mean, with the covariance shrunk towards its diagonal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anomalybench.core.method import Context, Images, Method, Prediction, Train


@dataclass
class Brightness(Method):
    """Mahalanobis distance of brightness statistics."""

    learns_from = "normals"
    smoke: ClassVar[Mapping[str, Any]] = {}

    shrinkage: Annotated[
        float, Field(gt=0, le=1, description="weight of the diagonal in the covariance; 1 ignores correlations")
    ] = 0.1

    def fit(self, train: Train, context: Context) -> None:
        """Mean and inverse covariance of the train images' statistics."""
        table = np.stack([_statistics(image) for image in train.images])
        self.mean_ = table.mean(0)
        covariance = np.atleast_2d(np.cov(table, rowvar=False, ddof=0))
        # A statistic that never moves, as in grey images' equal channels or in a single image, must not divide by zero.
        diagonal = np.diag(np.diag(covariance) + 0.01)
        self.precision_ = np.linalg.inv((1 - self.shrinkage) * covariance + self.shrinkage * diagonal)

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        away = np.stack([_statistics(image) for image in images]) - self.mean_
        return Prediction(np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", away, self.precision_, away), 0)))


def _statistics(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """15 numbers in grey levels."""
    values = image.astype(np.float64)
    steps = [
        np.abs(np.diff(values, axis=axis)).mean((0, 1)) if image.shape[axis] > 1 else np.zeros(3) for axis in (0, 1)
    ]
    pixels = values.reshape(-1, 3)
    low, high = np.quantile(pixels, [0.05, 0.95], axis=0)
    return np.concatenate([pixels.mean(0), pixels.std(0), low, high, (steps[0] + steps[1]) / 2])
