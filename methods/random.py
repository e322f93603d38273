"""Floor: a random score per image, drawn from its pixels and the seed. What no method may fall below."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.method import Context, Images, Method, Prediction, Train


@dataclass
class Random(Method):
    """Uniform scores in [0, 1)."""

    learns_from = "nothing"
    smoke: ClassVar[Mapping[str, Any]] = {}

    def fit(self, train: Train, context: Context) -> None:
        """Keep the seed."""
        self.seed_ = np.array([context.seed])

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        return Prediction(np.array([self._score(image) for image in images]))

    def _score(self, image: NDArray[np.uint8]) -> float:
        digest = hashlib.sha256(self.seed_.tobytes() + np.ascontiguousarray(image).tobytes()).digest()
        return float(np.random.default_rng(list(digest)).random())
