"""A graph that does not do what its method does is refused by the method contract."""

from dataclasses import dataclass

import pytest
import torch

from anomalybench.core.method import Graph
from anomalybench.methods.pixel_knn import PixelKnn
from anomalybench.testing import check_method


class Changed(torch.nn.Module):
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


def test_a_graph_for_pictures_of_another_side_is_refused():
    class Mine(PixelKnn):
        def graph(self):
            return Graph(super().graph().network, self.size + 1)

    with pytest.raises(AssertionError, match="the side that input"):
        check_method(Mine)
