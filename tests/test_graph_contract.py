"""A graph that does not do what its method does is refused by the method contract."""

from dataclasses import dataclass

import numpy as np
import pytest
from torch import nn

from anomalybench.core.errors import UsageError
from anomalybench.core.method import Context, Graph, Prediction, Train
from anomalybench.methods._network import NetworkMethod
from anomalybench.methods.pixel_knn import PixelKnn
from anomalybench.testing import check_method


class Changed(nn.Module):
    def __init__(self, graph, change):
        super().__init__()
        self.graph, self.change = graph, change

    def forward(self, pictures):
        return self.change(*self.graph.network(pictures))


@dataclass
class Broken(PixelKnn):
    def graph(self):
        graph = super().graph()
        return Graph(Changed(graph, self.change), graph.side)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scores, maps: (scores * 1.01, maps), "scores of the graph, 1 pictures: they differ.*by 0.01"),
        (lambda scores, maps: (scores, maps.flip(1)), "maps of the graph"),
        (lambda scores, maps: scores, "has maps where predict has them"),
        (lambda scores, maps: (scores.double(), maps), "float32, not float64"),
        (lambda scores, maps: (scores[:1], maps), r"24 pictures: shape \(1,\) instead of \(24,\)"),
        (lambda scores, maps: (scores - scores.mean() + scores[:1], maps), "scores of the graph, 24 pictures"),
    ],
)
def test_a_wrong_graph_is_named(change, words):
    class Mine(Broken):
        pass

    Mine.change = staticmethod(change)
    with pytest.raises(AssertionError, match=words):
        check_method(Mine)


@dataclass
class Plain(NetworkMethod[nn.Linear]):
    """As plugins were written before there were graphs."""

    size: int = 8

    def _build(self, context, *, pretrained):
        self.network_ = nn.Linear(1, 1)

    def fit(self, train, context):
        self._build(context, pretrained=True)

    def predict(self, images):
        return Prediction(np.zeros(len(images)))


def test_a_method_with_a_network_need_not_have_a_graph():
    method = Plain()
    method.fit(Train([]), Context())
    with pytest.raises(UsageError, match=r"^test_graph_contract: has no graph"):
        method.graph()


def test_a_graph_for_pictures_of_another_side_is_refused():
    class Mine(PixelKnn):
        def graph(self):
            return Graph(super().graph().network, self.size + 1)

    with pytest.raises(AssertionError, match="the side that input"):
        check_method(Mine)
