"""Identities of METHODS 5.3 on a small random network, and parity with the grad-cam package."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anomalybench.core import parameters, registry
from anomalybench.core.method import Context, Train
from anomalybench.methods._cam import Classifier
from anomalybench.methods._explainers import Explainer, _gradcam_plus_plus, explain, gradients, projection
from anomalybench.vision.backbones import Backbone

CELLS = 49
EXPLAINERS = get_args(Explainer)


def network(head="gap", scale=1.0):
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU()), nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
    )
    pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = Classifier(Backbone(layers, (4, 8), (8, 12), (0.5,) * 3, (0.5,) * 3, pooling, 12), head).eval()
    with torch.no_grad():
        for layer in net.head:
            layer.weight *= scale
        net.head[-1].bias.copy_(torch.tensor([0.1, 0.3]))
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def cam(net, features):
    return torch.einsum("k,nkhw->nhw", net.class_weights(), features)


@pytest.mark.parametrize("head", ["gap", "own", "single_unit"])
def test_gradcam_and_hirescam_are_the_rectified_cam(x, head):
    net = network(head)
    features = net.features(x)
    expected = cam(net, features).clamp_min(0) / CELLS
    for explainer in ("gradcam", "hirescam", "xgradcam"):
        assert torch.allclose(explain(net, x, features, explainer), expected, atol=1e-6), explainer


def test_hirescam_s_sum_is_the_logit_without_its_bias(x):
    for head in ("gap", "maxpool_avg"):
        net = network(head)
        features = net.features(x)
        completed = (gradients(net, features) * features).sum((1, 2, 3)) + net.head[-1].bias[1]
        assert torch.allclose(completed, net.logits(features)[:, 1], atol=1e-5)


def test_layercam_takes_the_positive_weights(x):
    net = network()
    features = net.features(x)
    expected = torch.einsum("k,nkhw->nhw", net.class_weights().clamp_min(0), features) / CELLS
    assert torch.allclose(explain(net, x, features, "layercam"), expected, atol=1e-6)
    elementwise = (gradients(net, features) * features).clamp_min(0).sum(1)
    assert torch.allclose(elementwise, expected, atol=1e-6)


def test_gradcam_plus_plus_in_closed_form(x):
    net = network(scale=50.0)
    features = net.features(x)
    w = net.class_weights()
    weights = w.clamp_min(0) / (2 + w * features.mean((2, 3)))
    expected = torch.einsum("nk,nkhw->nhw", weights, features).clamp_min(0)
    assert torch.allclose(_gradcam_plus_plus(features, gradients(net, features), eps=0.0), expected, rtol=1e-4)


def test_ablationcam_in_closed_form(x):
    net = network()
    with torch.no_grad():
        net.head[-1].bias.zero_()
    features = net.features(x)
    y = net.logits(features)[:, 1]
    weights = net.class_weights() * features.mean((2, 3)) / y.abs()[:, None]
    expected = torch.einsum("nk,nkhw->nhw", weights, features).clamp_min(0)
    assert torch.allclose(explain(net, x, features, "ablationcam"), expected, atol=1e-5)


def test_gradient_of_the_softmax_has_the_shape_of_the_difference(x):
    net = network()
    features = net.features(x).clone().requires_grad_()
    with torch.enable_grad():
        p = net.logits(features).softmax(1)
        (g,) = torch.autograd.grad(p[:, 1].sum(), features)
    difference = net.head[0].weight[1] - net.head[0].weight[0]
    expected = (p[:, 0] * p[:, 1])[:, None] * difference / CELLS
    assert torch.allclose(g.mean((2, 3)), expected, atol=1e-7)


def test_max_pool_head_keeps_gradcam_and_not_hirescam(x):
    net = network("maxpool_avg")
    x = F.interpolate(x, (64, 64))
    features = net.features(x)
    expected = cam(net, features).clamp_min(0) / 64
    assert torch.allclose(explain(net, x, features, "gradcam"), expected, atol=1e-6)
    assert not torch.allclose(explain(net, x, features, "hirescam"), expected, atol=1e-3)


def rescaled(maps):
    low = maps.min(axis=(1, 2), keepdims=True)
    return (maps - low) / (1e-7 + (maps - low).max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("explainer", ["gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "eigencam"])
def test_parity_with_the_grad_cam_package(x, explainer):
    """Its maps are rectified, brought to the input size and rescaled per image; ours are brought to the same form."""
    oracle = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Whole(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, images):
            return self.net.logits(self.net.features(images))

    others = {"gradcam": "GradCAM", "layercam": "LayerCAM", "eigencam": "EigenCAM"}
    names = {**others, "gradcam++": "GradCAMPlusPlus", "hirescam": "HiResCAM", "xgradcam": "XGradCAM"}
    net = network(scale=50.0).requires_grad_(True)
    with getattr(oracle, names[explainer])(model=Whole(net), target_layers=[net.tail]) as theirs:
        wanted = theirs(input_tensor=x, targets=[ClassifierOutputTarget(1)] * 3)
    features = net.features(x).detach()
    candidates = [explain(net, x, features, explainer)]
    if explainer == "eigencam":  # its sign is arbitrary there
        candidates.append((-projection(features)).clamp_min(0))
    full = [rescaled(F.interpolate(c[:, None], (56, 56), mode="bilinear")[:, 0].numpy()) for c in candidates]
    for i, reference in enumerate(wanted):
        assert min(np.abs(maps[i] - reference).max() for maps in full) < 2e-3


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Keeps the two classifiers that are trained, one per head; an explainer plays no part in the training."""
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_every_explainer_gives_finite_maps_on_both_classifiers(work, explainer):
    rng = np.random.default_rng(0)
    pictures = rng.integers(100, 120, (8, 64, 64, 3), dtype=np.uint8)
    pictures[4:, 10:34, 10:34] = 250
    for head in ("own", "gap"):
        params = {"size": 64, "epochs": 2, "explainer": explainer, "head": head, "backbone": "random@timm:resnet18"}
        method = parameters.build(registry.method("gradcam"), "gradcam", params)
        method.fit(Train(list(pictures), np.repeat([0, 1], 4)), Context(work=work))
        maps = method.predict(list(pictures[:2])).maps
        assert maps.shape == (2, 64, 64)
        assert np.isfinite(maps).all()


def test_a_constant_image_gives_no_division_by_zero():
    net = network()
    flat = torch.zeros(1, 3, 56, 56)
    for explainer in EXPLAINERS:
        assert torch.isfinite(explain(net, flat, net.features(flat), explainer)).all(), explainer


def test_occlusion_finds_the_place_that_matters():
    class Bright(nn.Module):
        def features(self, x):
            return x[:, :, 10:20, 30:40]

        def logits(self, features):
            return torch.stack([-features.mean((1, 2, 3)), features.mean((1, 2, 3))], 1)

    x = torch.ones(1, 3, 56, 56)
    found = explain(Bright(), x, x, "occlusion")[0]
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    assert 8 <= row < 22
    assert 28 <= column < 42
    assert found[40:, :20].abs().max() == 0


def test_one_training_serves_several_explainers(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(100, 120, (8, 64, 64, 3), dtype=np.uint8)
    pictures[4:, 10:34, 10:34] = 250
    train, steps, predictions = Train(list(pictures), np.repeat([0, 1], 4)), [], []
    context = Context(work=tmp_path, progress=lambda done, total: steps.append(done))
    for name, params in (
        ("gradcam", {"explainer": "hirescam", "head": "gap"}),
        ("gradcam", {"head": "gap"}),
        ("cam", {}),
    ):
        method = parameters.build(registry.method(name), name, {"size": 64, "epochs": 2, **params})
        method.fit(train, context)
        predictions.append(method.predict(list(pictures)))
    assert len(steps) <= 2
    assert all(np.array_equal(p.scores, predictions[0].scores) for p in predictions)
    assert method.reused_s > 0
    other = parameters.build(registry.method("cam"), "cam", {"size": 64, "epochs": 2})
    other.fit(train, Context(seed=5, work=tmp_path, progress=lambda done, total: steps.append(done)))
    assert len(steps) > 2
