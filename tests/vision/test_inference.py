"""ONNX Runtime gives what torch gives, whatever the batch; where it cannot, torch runs."""

import importlib.util
import warnings

import pytest
import torch
from torch import nn

from anomalybench.vision import backbones, inference
from anomalybench.vision.backbones import Backbone
from anomalybench.vision.features import FeatureStore, Frozen
from anomalybench.vision.inference import Tapped, engine

SIZE = 64


def tapped(name, strides):
    torch.manual_seed(0)
    net = backbones.load(name)
    return Tapped(net.layers, [net.end(stride) for stride in strides]).eval().requires_grad_(False)


def small(seed=0, middle=None):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), middle or nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1))
    return layers.eval().requires_grad_(False)


def batch(n=3, size=SIZE, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def plain(network, x):
    """Image by image: in a batch, convolutions give other last digits."""
    with torch.no_grad():
        return torch.cat([network.layers(one) for one in x.split(1)])


def assert_runs_in_torch(network):
    how, run = engine(network, SIZE, "cpu")
    assert how == "eager"
    assert torch.equal(run(batch())[-1], plain(network, batch()))


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("timm:tf_efficientnet_lite0", (8, 16, 32)),
        ("random@torchvision:vgg11", (4, 16)),
        ("random@timm:resnet18", (4, 8, 16)),
    ],
)
def test_onnx_runtime_gives_what_torch_gives_whatever_the_batch(name, strides, no_warning):
    network = tapped(name, strides)
    how, run = engine(network, SIZE, "cpu")
    assert how == "onnxruntime"
    x = batch(5)
    found = run(x)
    with torch.no_grad():
        expected = network(x)
    assert len(found) == len(strides)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max()
    assert (found[-1] - plain(network, x)).abs().max() <= 1e-3 * found[-1].abs().max()
    for i in range(5):
        assert all(torch.equal(one[0], many[i]) for one, many in zip(run(x[i : i + 1]), found, strict=True))


def test_layers_that_work_in_place_do_not_change_outputs_taken_before_them():
    layers = small(middle=nn.ReLU(inplace=True))
    before, after = Tapped(layers, [1, 2])(batch())
    assert before.min() < 0
    assert torch.equal(before.clamp_min(0), after)


def refuse(*_, **__):
    raise RuntimeError("no such operator\nand more")


def test_an_export_that_fails_falls_back_to_torch_and_is_said(monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", refuse)
    network = Tapped(small(), [1, 3])
    with pytest.warns(RuntimeWarning, match=r"without ONNX Runtime.*no such operator$"):
        assert_runs_in_torch(network)


class Inverse(nn.Module):
    """An operator that ONNX does not have."""

    def forward(self, x):
        return torch.linalg.pinv(x)


def test_a_network_that_cannot_be_exported_runs_in_torch():
    network = Tapped(small(middle=Inverse()), [3])
    with pytest.warns(RuntimeWarning, match="without ONNX Runtime"):
        assert_runs_in_torch(network)


class Drifting(nn.Module):
    """What it does in the export is not what it does later."""

    def forward(self, x):
        return x * 1.01 if torch.onnx.is_in_onnx_export() else x


def test_a_wrong_output_is_found_and_torch_runs():
    network = Tapped(small(middle=Drifting()), [2])
    with pytest.warns(RuntimeWarning, match="differs from torch's by 0.01"):
        assert_runs_in_torch(network)


class Undefined(nn.Module):
    def forward(self, x):
        return x / 0 * 0 if torch.onnx.is_in_onnx_export() else x


def test_an_output_that_is_not_a_number_is_found():
    with pytest.warns(RuntimeWarning, match="differs"):
        assert engine(Tapped(small(middle=Undefined()), [2]), SIZE, "cpu")[0] == "eager"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_a_package_torch_runs_and_the_extra_is_named_once(monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.warns(RuntimeWarning, match=rf"{package} not installed.*anomalybench-vision\[export\]"):
        assert_runs_in_torch(Tapped(small(), [3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert_runs_in_torch(Tapped(small(), [3]))


def backbone(layers):
    return Backbone(layers, (2, 2, 4), (4, 4, 5), (0.5,) * 3, (0.5,) * 3, nn.Identity(), 5)


def test_one_network_is_exported_and_warned_of_once_per_process(monkeypatch, tmp_path):
    calls = []

    def export(*_, **__):
        calls.append(1)
        refuse()

    monkeypatch.setattr(torch.onnx, "export", export)
    pictures = list(torch.randint(0, 255, (2, 40, 40, 3), dtype=torch.uint8).numpy())
    thrice = [Frozen(backbone(small(seed=7)), [3], 48, "cpu", FeatureStore(tmp_path)) for _ in range(3)]
    with pytest.warns(RuntimeWarning) as said:
        assert len([extract(pictures) for extract in thrice]) == 3
    assert (len(calls), len(said)) == (1, 1)


def test_engines_of_other_weights_are_not_taken_over():
    pictures = list(torch.randint(0, 255, (2, 48, 48, 3), dtype=torch.uint8).numpy())
    nets = [small(seed=seed) for seed in range(10)]
    for layers in (*nets, *nets):
        (found,) = Frozen(backbone(layers), [3], 48, "cpu")(pictures)
        x = torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one in pictures]) / 255
        with torch.no_grad():
            assert torch.allclose(found, layers((x - 0.5) / 0.5), rtol=2e-3, atol=1e-3)


def test_what_is_left_behind_by_an_export_is_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(inference.tempfile, "tempdir", str(tmp_path))
    network = Tapped(small(), [3]).eval()
    assert engine(network, SIZE, "cpu")[0] == "onnxruntime"
    assert list(tmp_path.iterdir()) == []
    assert not network.training
