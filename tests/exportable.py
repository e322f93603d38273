"""A method with a graph that fits in no time, as a plugin: `make_plugin(methods={"distance": exportable.SOURCE})`."""

SOURCE = '''
from dataclasses import dataclass

import numpy as np
import torch

from anomalybench import Graph, Method, Prediction
from anomalybench.core.method import Input
from anomalybench.vision.images import stack


class Network(torch.nn.Module):
    def __init__(self, mean, maps, shift):
        super().__init__()
        self.register_buffer("mean", mean)
        self.maps, self.shift = maps, shift

    def forward(self, pictures):
        found = ((pictures - self.mean) / 16).square().mean(1)
        scores = found.mean((1, 2)) + self.shift
        return (scores, found) if self.maps else scores


@dataclass
class Distance(Method):
    """Squared distance from the mean of the normal images."""

    learns_from = "normals"
    size: int = 12
    maps: bool = True
    shift: float = 0.0

    def fit(self, train, context):
        self.mean_ = stack(train.images, self.size).float().mean(0).numpy()

    def network(self, shift=0.0):
        return Network(torch.from_numpy(self.mean_), self.maps, shift)

    def predict(self, images):
        found = self.network()(stack(images, self.size).float())
        return Prediction(found[0].numpy(), found[1].numpy()) if self.maps else Prediction(found.numpy())

    def graph(self):
        return Graph(self.network(self.shift), self.size)

    def input(self):
        return Input(self.size)
'''
