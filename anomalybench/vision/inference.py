"""Running frozen layers fast: ONNX Runtime on the CPU, bf16 and channels_last on a GPU, plain torch where these fail.

Measured on 2 cores with EfficientNet-Lite0 at 224 px: 29 images/s with torch, 129 with ONNX Runtime, whose results do
not depend on the batch (bit by bit), so that an image's features are the same whatever it is computed with. An export
that fails, or that differs from torch by more than 1e-3 of the greatest value, is given up, with one warning.
"""

import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import nn

Run = Callable[[torch.Tensor], list[torch.Tensor]]
"""Normalised images n x 3 x h x w to the output after each wanted layer, float32 in main memory."""
_TOLERANCE = 1e-3


class Tapped(nn.Module):
    """A chain of layers that returns the outputs after some of them.

    Args:
        layers: The chain.
        ends: After how many layers an output is wanted, ascending.
    """

    def __init__(self, layers: nn.Sequential, ends: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.ends = layers[: max(ends)], tuple(ends)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Outputs in the order of `ends`."""
        outputs = []
        for i, layer in enumerate(self.layers, 1):
            x = layer(x)
            if i in self.ends:
                outputs.append(x.clone())  # the next layer may work in place
        return outputs


def engine(network: Tapped, size: int, device: str) -> tuple[str, Run]:
    """Name of the way it runs, and the function that runs it.

    Args:
        network: Frozen, in eval mode, on `device`.
        size: Input side in pixels.
        device: Torch device name.
    """
    if device != "cpu":
        return "eager-bf16", _accelerated(network, device)
    missing = [package for package in ("onnx", "onnxruntime") if importlib.util.find_spec(package) is None]
    if missing:
        _say_once(f"{' and '.join(missing)} not installed; pip install 'anomalybench-vision[export]'")
        return "eager", _eager(network)
    try:
        return "onnxruntime", _onnx(network, size)
    except Exception as error:  # the exporter and the runtime raise many kinds, and torch can always do it
        reason = str(error).strip().partition("\n")[0]
        warnings.warn(f"runs without ONNX Runtime, more slowly: {reason}", RuntimeWarning, stacklevel=2)
        return "eager", _eager(network)


@cache
def _say_once(reason: str) -> None:
    warnings.warn(f"runs without ONNX Runtime, about four times slower: {reason}", RuntimeWarning, stacklevel=3)


def _eager(network: Tapped) -> Run:
    """Image by image: torch's convolutions give other last digits in another batch, the store must not."""

    def run(batch: torch.Tensor) -> list[torch.Tensor]:
        with torch.inference_mode():
            single = [network(one) for one in batch.split(1)]
            return [torch.cat(outputs) for outputs in zip(*single, strict=True)]

    return run


def _accelerated(network: Tapped, device: str) -> Run:
    network = network.to(memory_format=torch.channels_last)

    def run(batch: torch.Tensor) -> list[torch.Tensor]:
        batch = batch.to(device, memory_format=torch.channels_last, non_blocking=True)
        with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16):
            return [output.float().cpu() for output in network(batch)]

    return run


def _onnx(network: Tapped, size: int) -> Run:
    import onnxruntime

    probe = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    names = [f"y{end}" for end in network.ends]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            network, (probe,), file, input_names=["x"], output_names=names, dynamo=False,
            dynamic_axes={name: {0: "n"} for name in ["x", *names]},
        )  # fmt: skip
        session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])

    def run(batch: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(y) for y in session.run(names, {"x": batch.numpy()})]

    # The second of two different images alone: that a batch works is seen, and torch runs once.
    _check_equal([y[1:] for y in run(probe)], _eager(network)(probe[1:]))
    return run


def _check_equal(fast: Sequence[torch.Tensor], slow: Sequence[torch.Tensor]) -> None:
    for a, b in zip(fast, slow, strict=True):
        apart = float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))
        if not apart <= _TOLERANCE:
            raise ValueError(f"its output differs from torch's by {apart:.2g} of the greatest value")
