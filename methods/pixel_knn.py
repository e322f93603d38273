"""Floor: distance to the nearest normal images in raw pixels of a small picture. Maps are the squared difference.

Source: the 1-nearest-neighbour baseline of Bergmann et al. (Uninformed Students, 2020), here on whole images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anomalybench.core.method import Context, Graph, Images, Method, Prediction, Train
from anomalybench.methods._neighbours import nearest, nearest_tensors
from anomalybench.vision import images as vision


@dataclass
class PixelKnn(Method):
    """Mean Euclidean distance to the k nearest normal images."""

    learns_from = "normals"
    smoke: ClassVar[Mapping[str, Any]] = {"size": 16}

    size: Annotated[int, Field(ge=1, le=512, description="side of the small picture in pixels")] = 32
    k: Annotated[int, Field(ge=1, description="neighbours; all there are where there are fewer")] = 1

    def fit(self, train: Train, context: Context) -> None:
        """Keep the small pictures."""
        self.memory_ = self._small(train.images)

    def predict(self, images: Images) -> Prediction:
        """See `Method.predict`."""
        small = self._small(images)
        near = nearest(small, self.memory_, self.k)
        difference = (small - self.memory_[near.places[:, 0]]) ** 2
        return Prediction(near.distances.mean(1), difference.reshape(-1, 3, self.size, self.size).mean(1))

    def graph(self) -> Graph:
        """See `Method.graph`."""
        import torch

        from anomalybench.methods._judgement import Judge, Judgement

        memory = torch.from_numpy(self.memory_.copy())

        def judge(pictures: torch.Tensor) -> Judgement:
            small = pictures.flatten(1) / 255
            distances, places = nearest_tensors(small, memory, self.k)
            difference = (small - memory[places[:, 0]]) ** 2
            return Judgement(distances.mean(1), difference.reshape(-1, 3, self.size, self.size).mean(1))

        return Graph(Judge(judge), self.size)

    def _small(self, images: Images) -> NDArray[np.float32]:
        """Flattened small pictures in [0, 1]: n x (3 size size)."""
        return vision.stack(images, self.size).numpy().reshape(len(images), -1).astype(np.float32) / np.float32(255)
