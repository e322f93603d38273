import numpy as np
import pytest
import safetensors.torch
import timm
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


def fitted(name="cam", work=None, bright=250, seed=0, **params):
    rng = np.random.default_rng(0)
    pictures = rng.integers(100, 120, (16, 64, 64, 3), dtype=np.uint8)
    labels = np.repeat([0, 1], 8)
    pictures[8:, 10:30, 10:30] = bright
    values = {"size": 64, "epochs": 3, "learning_rate": 1e-3, **params}
    method = parameters.build(registry.method(name), name, values)
    method.fit(Train(list(pictures), labels), Context(seed=seed, work=work))
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


def scores(**options):
    method, pictures, _ = fitted(**options)
    return method.predict(pictures).scores


def write_weights(file, seed):
    torch.manual_seed(seed)
    safetensors.torch.save_file(timm.create_model("resnet18", pretrained=False).state_dict(), file)


def test_a_sibling_takes_over_the_trained_classifier(tmp_path):
    first, pictures, _ = fitted(work=tmp_path, backbone="random@timm:resnet18")
    sibling, _, _ = fitted("gradcam", work=tmp_path, backbone="random@timm:resnet18", head="gap")
    assert (first.reused_s, len(list(tmp_path.iterdir()))) == (0, 1)
    assert sibling.reused_s > 0
    assert np.array_equal(first.predict(pictures).scores, sibling.predict(pictures).scores)


def test_a_weights_file_that_was_replaced_is_another_backbone(tmp_path):
    options = {"work": tmp_path / "work", "backbone": f"file:{tmp_path / 'weights.safetensors'}@timm:resnet18"}
    write_weights(tmp_path / "weights.safetensors", 1)
    before = scores(**options)
    write_weights(tmp_path / "weights.safetensors", 2)
    after = scores(**options)
    assert not np.array_equal(before, after)
    assert np.array_equal(after, scores(**{**options, "work": None}))


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"bright": 240},
        {"epochs": 4},
        {"anomaly_weight": 1.0},
        {"head": "single_unit"},
        {"normalise": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_classifier_trained_otherwise_is_not_taken_over(tmp_path, other):
    fitted(work=tmp_path, backbone="random@timm:resnet18")
    method, _, _ = fitted(work=tmp_path, backbone="random@timm:resnet18", **other)
    assert method.reused_s == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "another file", "a folder"])
def test_a_damaged_kept_classifier_is_trained_anew_and_replaced(tmp_path, damage):
    options = {"work": tmp_path, "backbone": "random@timm:resnet18"}
    expected = scores(**options)
    (file,) = tmp_path.glob("classifier-*.npz")
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage == "another file":
        np.savez(file, fit_s=np.array(1.0))
    else:
        file.write_bytes({"cut": good[: len(good) // 2], "empty": b"", "flipped": bytes(flipped)}[damage])
    assert np.array_equal(scores(**options), expected)
    assert fitted(**options)[0].reused_s > 0 or damage == "a folder"


def test_a_work_folder_that_cannot_be_written_costs_only_the_sharing(tmp_path):
    (tmp_path / "work").write_text("a file")
    options = {"backbone": "random@timm:resnet18"}
    assert np.array_equal(scores(work=tmp_path / "work", **options), scores(**options))
