"""Speed of frozen layers: `pytest tests/perf --benchmark-only`. Ordinary runs only check that both sides agree."""

from functools import cache

import numpy as np
import pytest
import torch

from anomalybench.vision import backbones, images
from anomalybench.vision.features import FeatureStore, Frozen
from anomalybench.vision.inference import Tapped, engine


class Pictures(list):
    """Images with content hashes."""

    def __init__(self, n, side):
        super().__init__(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8))
        self.hashes = [f"image {i}" for i in range(n)]


@cache
def network(size):
    backbone = backbones.load("timm:tf_efficientnet_lite0")
    backbone.layers.requires_grad_(False)
    how, run = engine(Tapped(backbone.layers, [backbone.end(16)]).eval(), size, "cpu")
    assert how == "onnxruntime"
    return backbone, run


def onnx(batch):
    return network(batch.shape[-1])[1](batch)[0]


def eager(batch):
    """The layers one after the other, as torch runs them."""
    backbone, _ = network(batch.shape[-1])
    with torch.inference_mode():
        return backbone.layers[: backbone.end(16)](batch)


def batch(n, size):
    return network(size)[0].normalise(images.stack(Pictures(n, size), size))


def test_both_sides_agree():
    fast, slow = onnx(batch(2, 64)), eager(batch(2, 64))
    assert slow.shape == (2, 112, 4, 4)
    assert (fast - slow).abs().max() <= 1e-3 * slow.abs().max()


def test_a_warm_store_agrees(tmp_path):
    backbone, store = network(64)[0], FeatureStore(tmp_path)
    cold, warm = (Frozen(backbone, [backbone.end(16)], 64, "cpu", store)(Pictures(3, 64))[0] for _ in range(2))
    assert store.saved_s > 0
    assert torch.equal(cold, warm)


@pytest.mark.benchmark(group="16 images of 224 x 224 through EfficientNet-Lite0 up to stride 16")
@pytest.mark.parametrize("side", [onnx, eager])
def test_ratio(benchmark, side):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    benchmark.pedantic(side, (batch(16, 224),), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="64 images of 224 x 224: computed, or read from the store")
@pytest.mark.parametrize("warm", [True, False], ids=["read", "computed"])
def test_store(benchmark, warm, tmp_path):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    backbone, pictures = network(224)[0], Pictures(64, 224)
    extract = Frozen(backbone, [backbone.end(16)], 224, "cpu", FeatureStore(tmp_path) if warm else None)
    extract(pictures)
    benchmark.pedantic(extract, (pictures,), rounds=3)
