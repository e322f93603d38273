"""Frozen layers as a network: rounding bit by bit, and the features of `Frozen`."""

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from anomalybench.core.method import ImageArrays
from anomalybench.vision import backbones, training
from anomalybench.vision.features import Frozen
from anomalybench.vision.graph import rounded
from anomalybench.vision.images import stack

LITE0 = "timm:tf_efficientnet_lite0"


class _Rounding(nn.Module):
    def forward(self, x):
        return rounded(x)


def values():
    """All halves, the middles between them, the numbers around these, random ones, and some too large."""
    halves = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    halves = halves[halves.isfinite()].sort().values
    middles = (halves[1:] + halves[:-1]) / 2
    beside = [torch.nextafter(middles, torch.tensor(limit)) for limit in (torch.inf, -torch.inf)]
    numbers = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    return torch.cat([halves, middles, *beside, numbers, torch.tensor([65519.0, 65520.0, 1e9, -1e30])])[None]


def cast(x):
    limit = float(torch.finfo(torch.float16).max)
    return x.clamp(-limit, limit).half().float().numpy()


def exported(module, probe):
    pytest.importorskip("onnx")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (probe,), file, input_names=["x"], output_names=["y"], dynamo=False)
    return file.getvalue()


def in_torch(x):
    return rounded(x).numpy()


def in_onnx_runtime(x):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported(_Rounding(), x), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x.numpy()})[0]


def in_openvino(x):
    core = pytest.importorskip("openvino").Core()
    model = core.read_model(io.BytesIO(exported(_Rounding(), x)))
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x.numpy()])[0]


@pytest.mark.parametrize("compute", [in_torch, in_onnx_runtime, in_openvino])
def test_rounding_is_that_of_a_cast_to_float16(compute):
    x = values()
    found, expected = compute(x), cast(x)
    normal = (np.abs(x.numpy()) >= 2**-14) | (x.numpy() == 0)
    assert np.array_equal(found[normal], expected[normal])
    assert np.abs(found - expected).max() <= 2**-25


@pytest.mark.parametrize("normalise", [True, False])
def test_the_network_gives_the_features_of_the_engine(normalise):
    backbone = backbones.load(LITE0)
    training.freeze(backbone.layers)
    frozen = Frozen(backbone, [backbone.end(8), backbone.end(16)], 64, "cpu", normalise=normalise)
    images = ImageArrays(list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)))
    with torch.no_grad():
        found = frozen.graph()(stack(images, 64).float())
    for ours, theirs in zip(found, frozen(images), strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, rtol=2**-10, atol=1e-4)
        assert (ours == theirs).float().mean() > 0.98  # some lie near a middle, and torch has other last digits
