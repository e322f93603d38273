import math

import numpy as np
import pytest
import torch
from torch import nn

from anomalybench.core import parameters, registry
from anomalybench.core.method import Context, Train
from anomalybench.methods._receptive_field import ReceptiveField, gaussian, receptive_field, upsample
from anomalybench.methods.fcdd import anomalous_loss, fcdd_loss, pseudo_huber
from anomalybench.vision import backbones

VGG = ReceptiveField(size=62, stride=8, start=3.5)


@pytest.mark.parametrize(
    ("output", "a", "loss"),
    [
        (0.0, 0.0, 71.380138),
        (0.1, 0.00498756, 5.303301),
        (0.5, 0.11803399, 2.195219),
        (1.0, 0.41421356, 1.081342),
        (2.0, 1.23606798, 0.343229),
        (5.0, 4.09901951, 0.016728),
    ],
)
def test_golden_values_of_the_loss(output, a, loss):
    phi = torch.tensor([[[output]]])
    assert pseudo_huber(phi).item() == pytest.approx(a, abs=1e-7)
    assert fcdd_loss(pseudo_huber(phi), torch.tensor([1])).item() == pytest.approx(loss, rel=1e-5)
    assert fcdd_loss(pseudo_huber(phi), torch.tensor([0])).item() == pytest.approx(a, abs=1e-7)


@pytest.mark.parametrize("a", [1e-30, 1e-12, 1e-6, 1e-3, 0.7, 20.0, 80.0])
def test_anomalous_loss_is_exact_where_the_plain_formula_is_not(a):
    exact = -math.log(-math.expm1(-a))
    x = torch.tensor(a, requires_grad=True)
    loss = anomalous_loss(x)
    loss.backward()
    assert loss.item() == pytest.approx(exact, rel=1e-5, abs=1e-30)
    assert x.grad.item() == pytest.approx(-math.exp(-a) / -math.expm1(-a), rel=1e-4, abs=1e-34)


def test_golden_values_of_the_kernel():
    kernel = np.outer(gaussian(62, 12), gaussian(62, 12))
    assert kernel.sum().item() == pytest.approx(236.36577, rel=1e-6)
    assert kernel.max().item() == pytest.approx(0.25)
    assert kernel.sum(0)[0].item() / 15.374192 == pytest.approx(0.02196847, rel=1e-5)
    assert gaussian(62, 10).sum() ** 2 == pytest.approx(169.11914, rel=1e-6)
    assert gaussian(61, 12).max() == 1.0


def test_golden_values_of_the_upsampling():
    impulse = torch.zeros(1, 28, 28)
    impulse[0, 14, 14] = 1
    full = upsample(impulse, VGG, 224, 12, normalised=False)[0]
    assert full.shape == (224, 224)
    assert full.max().item() == pytest.approx(0.25)
    assert sorted({int(i) for i in (full == full.max()).nonzero().flatten()}) == [115, 116]
    ones = upsample(torch.ones(1, 28, 28), VGG, 224, 12, normalised=False)[0]
    assert ones[112, 112].item() == pytest.approx(3.722644, rel=1e-5)
    assert ones.mean().item() == pytest.approx(3.392469, rel=1e-5)
    assert ones.min().item() == pytest.approx(0.991279, rel=1e-5)
    assert ones[0, 0].item() == pytest.approx(ones.min().item(), rel=1e-6)


def test_normalised_upsampling_keeps_a_flat_map_flat():
    flat = upsample(torch.full((1, 28, 28), 0.7), VGG, 224, 12, normalised=True)
    assert torch.allclose(flat, torch.full_like(flat, 0.7))


@pytest.mark.parametrize(
    ("field", "cells", "side"),
    [(VGG, 28, 224), (ReceptiveField(299, 16, 7.5), 16, 256), (ReceptiveField(61, 16, -9.5), 5, 70)],
)
def test_upsampling_is_a_transposed_convolution(field, cells, side):
    maps = torch.rand(3, cells, cells, generator=torch.Generator().manual_seed(0))
    line = torch.from_numpy(gaussian(field.size, 12)).float()
    spread = nn.functional.conv_transpose2d(maps[:, None], torch.outer(line, line)[None, None], stride=field.stride)
    margin = side + field.size
    padded = nn.functional.pad(spread[:, 0], (margin,) * 4)
    begin = margin + math.floor((field.size - 1) / 2 - field.start)
    expected = padded[:, begin : begin + side, begin : begin + side]
    found = upsample(maps, field, side, 12, normalised=False)
    assert found.shape == (3, side, side)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_receptive_field_of_vgg11_at_stride_8():
    backbone = backbones.load("random@torchvision:vgg11_bn")
    prefix, tail, channels = backbone.cut(8)
    assert receptive_field(nn.Sequential(prefix, tail), 224) == VGG
    assert channels == 512
    head = nn.Conv2d(channels, 1, 1)
    count = lambda *modules: sum(p.numel() for m in modules for p in m.parameters())  # noqa: E731
    assert count(prefix) == 962_304
    assert count(tail, head) == 3_542_529


@pytest.mark.parametrize(
    ("name", "stride"),
    [("timm:tf_efficientnet_lite0", 8), ("timm:tf_efficientnet_lite0", 16), ("random@timm:inception_v3", 8)],
)
def test_maps_of_other_backbones_point_at_the_right_place(name, stride):
    """A bright square in the input must move the up-sampled response to the same place."""
    prefix, tail, _ = backbones.load(name).cut(stride)
    chain = nn.Sequential(prefix, tail).eval()
    field = receptive_field(chain, 224)
    image = torch.zeros(1, 3, 224, 224)
    image[:, :, 140:156, 60:76] = 3.0
    with torch.no_grad():
        change = (chain(image) - chain(torch.zeros_like(image))).abs().mean(1)
    row, column = np.unravel_index(int(upsample(change, field, 224, 12, normalised=True).argmax()), (224, 224))
    assert abs(row - 148) < 16
    assert abs(column - 68) < 16


def test_learns_from_follows_the_parameter():
    cls = registry.method("fcdd")
    assert parameters.build(cls, "fcdd", {}).supervision() == "normals"
    assert parameters.build(cls, "fcdd", {"anomalies": "labelled"}).supervision() == "labels"


@pytest.mark.parametrize(
    "params",
    [
        {"anomalies": "confetti_mathworks"},
        {"anomalies": "labelled"},
        {"optimizer": "sgd"},
        {"augment": True},
        {"stride": 16},
    ],
)
def test_options_train(params):
    rng = np.random.default_rng(0)
    normal = rng.integers(90, 110, (6, 64, 64, 3), dtype=np.uint8)
    dark = normal.copy()
    dark[:, 20:40, 20:40] = 0
    train = Train(list(normal), None)
    if params.get("anomalies") == "labelled":
        train = Train([*normal, *dark], np.repeat([0, 1], 6))
    method = parameters.build(registry.method("fcdd"), "fcdd", {"size": 64, "epochs": 12, **params})
    method.fit(train, Context(seed=0))
    scores = method.predict([*normal, *dark]).scores
    assert scores[:6].mean() < scores[6:].mean()
