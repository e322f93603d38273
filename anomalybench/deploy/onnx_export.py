"""A fitted method as one ONNX file: from images of any size to raw scores and maps, with its card as metadata.

The input `image` is what a camera or a decoder gives: uint8, n x height x width x 3, RGB. The resize of `onnx_resize`
comes first in the graph, then the method's own network. `score` and `map` are raw, as `Method.predict` gives them: the
threshold is metadata, so that it can change without another file.
"""

import importlib.util
import tempfile
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from anomalybench.core.errors import StoreError, UsageError
from anomalybench.core.files import write_aside
from anomalybench.core.method import Graph
from anomalybench.core.model_card import ModelCard
from anomalybench.deploy.exported import MAP, SCORE, metadata
from anomalybench.deploy.onnx_resize import IR, OPSET, PICTURE, SMALLEST, resize_model

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

LIMIT = 2**31 - 2**20
"""Bytes that one file can hold, less a little for the graph itself."""
_PICTURE = "picture"
_TOO_LARGE = (
    "the model has {} of weights, but one ONNX file holds 2 GB at most. Fit it with a smaller memory or backbone."
)


def export(card: ModelCard, graph: Graph, file: Path) -> Path:
    """Write a fitted method as an ONNX file, at once or not at all.

    Args:
        card: The model's card.
        graph: The method's network, see `Method.graph`.
        file: Where to; its folder is made.

    Raises:
        StoreError: It cannot be written.
        UsageError: `onnx` is not installed, the model is too large for one file, or its images are too small.
    """
    check_installed()
    if graph.side < SMALLEST:
        raise UsageError(f"the model resizes images to {graph.side} pixels, exports need {SMALLEST} at least.")
    content = _composed(card, graph).SerializeToString()
    try:
        with write_aside(file) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror or error}). Name another: --out DIR.") from None
    return file


def check_installed() -> None:
    """UsageError that names the extra if the package `onnx` is missing."""
    if importlib.util.find_spec("onnx") is None:
        raise UsageError("to export a model, the package onnx is needed: pip install 'anomalybench-vision[export]'.")


def _composed(card: ModelCard, graph: Graph) -> "ModelProto":
    import onnx
    from onnx import compose, helper

    network = onnx.load_from_string(_network(graph))
    network.ir_version = IR
    created = datetime.now(UTC).isoformat(timespec="seconds")
    model = compose.merge_models(resize_model(graph.side), network, io_map=[(PICTURE, _PICTURE)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "anomalybench", version("anomalybench-vision")
    model.graph.name = model.doc_string = card.name
    helper.set_model_props(model, dict(metadata(card, graph.side, created)))
    onnx.checker.check_model(model)
    return model


def _network(graph: Graph) -> bytes:
    """The method's own network as ONNX, from pictures to scores and maps."""
    import torch

    network: nn.Module = graph.network
    values = [*network.parameters(), *network.buffers()]
    _check_size(sum(one.numel() * one.element_size() for one in values))
    # Two different pictures, so that nothing is traced as if there were always one.
    probe = torch.randint(256, (2, 3, graph.side, graph.side), generator=torch.Generator().manual_seed(0)).float()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        names = [SCORE] if isinstance(network(probe), torch.Tensor) else [SCORE, MAP]
        try:
            torch.onnx.export(
                network, (probe,), file, input_names=[_PICTURE], output_names=names, dynamo=False, opset_version=OPSET,
                dynamic_axes={name: {0: "N"} for name in [_PICTURE, *names]},
            )  # fmt: skip
        except RuntimeError as error:
            if "2GiB" in str(error):
                raise UsageError(_TOO_LARGE.format("more than 2 GB")) from None
            raise
        # Tensors that are no parameters, such as a memory of features, are seen only in what was written; torch puts
        # what one file cannot hold into files beside it.
        _check_size(sum(one.stat().st_size for one in Path(folder).iterdir()))
        return file.read_bytes()


def _check_size(size: int) -> None:
    if size > LIMIT:
        raise UsageError(_TOO_LARGE.format(f"{size / 2**30:.1f} GB"))
