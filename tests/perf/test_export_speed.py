"""Speed of exported files: `pytest tests/perf --benchmark-only`. Ordinary runs only check that both sides agree."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import made_models
import numpy as np
import pytest
from PIL import Image

from anomalybench.core import parameters, registry
from anomalybench.core.method import Context, ImageArrays, Train
from anomalybench.deploy import onnx_export, onnx_model
from anomalybench.deploy.onnx_resize import resize_model

METHODS = ("padim", "patchcore")


def pictures(n, side):
    return ImageArrays(list(np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)))


@cache
def engines(name, size):
    """Predict of a method on 12 images, by itself and exported."""
    method = parameters.build(registry.method(name), name, {"size": size})
    method.fit(Train(pictures(12, size)), Context())
    with TemporaryDirectory() as folder:
        file = onnx_export.export(made_models.bundle().card, method.graph(), Path(folder) / "model.onnx")
        return {"torch": method.predict, "onnx": onnx_model.load(file).predict}


@pytest.mark.parametrize("name", METHODS)
def test_both_sides_agree(name):
    found = {engine: predict(pictures(2, 64)).scores for engine, predict in engines(name, 64).items()}
    assert found["onnx"] == pytest.approx(found["torch"], rel=1e-5)


@pytest.mark.benchmark(group="one image of 256 x 256")
@pytest.mark.parametrize("engine", ["onnx", "torch"])
@pytest.mark.parametrize("name", METHODS)
def test_latency(benchmark, name, engine):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    benchmark.pedantic(engines(name, 256)[engine], (pictures(1, 256),), rounds=30, warmup_rounds=3)


def pillow(image):
    return Image.fromarray(image[0]).resize((256, 256), Image.Resampling.BILINEAR)


@cache
def graph():
    import onnxruntime

    session = onnxruntime.InferenceSession(resize_model(256).SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})


@pytest.mark.benchmark(group="1024 x 1024 to 256 x 256, equal bit by bit")
@pytest.mark.parametrize("how", ["graph", "pillow"])
def test_resize(benchmark, how):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    image = np.stack([pictures(1, 1024)[0]])
    benchmark.pedantic(graph() if how == "graph" else pillow, (image,), rounds=20, warmup_rounds=2)
