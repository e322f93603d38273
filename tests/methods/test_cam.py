import numpy as np
import pytest
import torch

from anomalybench.core import parameters, registry
from anomalybench.core.errors import DataError
from anomalybench.core.method import Context, Train
from anomalybench.methods._cam import Classifier
from anomalybench.vision import backbones

HEADS = ["gap", "maxpool_avg", "single_unit"]


@pytest.fixture(scope="module")
def vgg():
    """The article's backbone, which takes a second to draw; tests only look at it."""
    return backbones.load("random@torchvision:vgg16")


def network(backbone, head):
    torch.manual_seed(0)
    return Classifier(backbone, head).eval()


def test_the_article_s_network_has_its_parameter_counts(vgg):
    net = network(vgg, "maxpool_avg")
    frozen = sum(p.numel() for p in net.parameters() if not p.requires_grad)
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert (frozen, trained) == (7_635_264, 7_080_450)
    assert net.features(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 14, 14)


@pytest.mark.parametrize("head", HEADS)
def test_map_is_grad_cam_times_the_number_of_cells(vgg, head):
    net = network(vgg, head)
    features = torch.rand(2, 512, 14, 14, requires_grad=True)
    logit = net.logits(features)[:, 1].sum()
    (gradient,) = torch.autograd.grad(logit, features)
    grad_cam = (gradient.mean((2, 3), keepdim=True) * features).sum(1)
    cam = torch.einsum("k,nkhw->nhw", net.class_weights(), features)
    assert torch.allclose(grad_cam * 14 * 14, cam, rtol=1e-4, atol=1e-5)


def test_map_of_a_pooled_head_sums_to_the_logit(vgg):
    net = network(vgg, "gap")
    features = torch.rand(3, 512, 14, 14)
    cam = torch.einsum("k,nkhw->nhw", net.class_weights(), features)
    assert torch.allclose(cam.mean((1, 2)) + net.head[0].bias[1], net.logits(features)[:, 1], atol=1e-5)


def fitted(**params):
    rng = np.random.default_rng(0)
    pictures = rng.integers(100, 120, (16, 64, 64, 3), dtype=np.uint8)
    labels = np.repeat([0, 1], 8)
    pictures[8:, 10:30, 10:30] = 250
    values = {"size": 64, "epochs": 3, "learning_rate": 1e-3, **params}
    method = parameters.build(registry.method("cam"), "cam", values)
    method.fit(Train(list(pictures), labels), Context(seed=0))
    return method, list(pictures), labels


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"head": "maxpool_avg"},
        {"head": "single_unit", "epochs": 12},
        {"rotation": 20.0, "flips": True},
        {"anomaly_weight": "balanced"},
        {"normalise": False},
    ],
)
def test_every_option_learns_an_easy_task(params):
    method, pictures, labels = fitted(**params)
    prediction = method.predict(pictures)
    assert prediction.scores[labels == 1].mean() > prediction.scores[labels == 0].mean()
    assert prediction.maps.shape == (16, 64, 64)


def test_training_stops_when_the_accuracy_is_reached():
    steps = []
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 5, (20, 64, 64, 3), dtype=np.uint8)
    pictures[10:] += 250
    method = parameters.build(
        registry.method("cam"), "cam", {"size": 64, "epochs": 30, "learning_rate": 1e-3, "stop_accuracy": 0.9}
    )
    method.fit(Train(list(pictures), np.repeat([0, 1], 10)), Context(progress=lambda done, total: steps.append(done)))
    assert 1 <= len(steps) < 30


def test_the_frozen_prefix_stays_as_it_was():
    method, _, _ = fitted()
    fresh = backbones.load("timm:tf_efficientnet_lite0").cut()[0].state_dict()
    kept = method.network_.prefix.state_dict()
    assert fresh
    assert all(torch.equal(fresh[name], kept[name]) for name in fresh)


def test_one_class_alone_is_refused():
    method = parameters.build(registry.method("cam"), "cam", {"size": 64})
    with pytest.raises(DataError, match="normal and anomalous"):
        method.fit(Train([np.zeros((64, 64, 3), np.uint8)] * 3, np.zeros(3, np.int64)), Context())
