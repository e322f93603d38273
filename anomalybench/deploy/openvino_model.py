"""An exported model in OpenVINO: the ONNX file converted, and run without torch."""

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import StoreError, UsageError, shortened
from anomalybench.core.model_card import ModelCard
from anomalybench.deploy.bundle import card_of
from anomalybench.deploy.exported import CARD_KEY, IMAGE, MAP, SCORE, predictor, public
from anomalybench.deploy.model import OPENVINO, Model

_PLACE = ["anomalybench", CARD_KEY]
"""Where the file keeps the card."""


def check_installed() -> None:
    """UsageError that names the extra if the package `openvino` is missing."""
    if importlib.util.find_spec("openvino") is None:
        raise UsageError("the package openvino is needed: pip install 'anomalybench-vision[openvino]'.")


def convert(onnx: Path, card: ModelCard, file: Path) -> None:
    """Write an exported ONNX file as OpenVINO's two, `.xml` and `.bin`, in full precision.

    Args:
        onnx: The exported file.
        card: Its card.
        file: The `.xml` file to write.

    Raises:
        StoreError: OpenVINO cannot convert or write it.
        UsageError: OpenVINO is not installed.
    """
    check_installed()
    import openvino

    try:
        model = openvino.Core().read_model(onnx)  # convert_model would report its use to Intel
        model.set_rt_info(public(card).model_dump_json(), _PLACE)
        openvino.save_model(model, file, compress_to_fp16=False)
    except RuntimeError as error:
        raise StoreError(f"{file}: OpenVINO cannot convert the model ({_reason(error)}).") from None


def load(folder: Path, threads: int | None = None) -> Model:
    """The model of a folder with `model.xml` and `model.bin`; several threads may use it at once.

    Args:
        folder: The folder.
        threads: How many threads compute; by default as many as OpenVINO finds best.

    Raises:
        StoreError: It is missing, damaged, of a newer version, or no export of a model.
        UsageError: OpenVINO is not installed.
    """
    check_installed()
    import openvino

    file = folder / OPENVINO
    for part in (file, file.with_suffix(".bin")):
        if not part.is_file():
            raise StoreError(
                f"{part}: there is no such file. Export the model: anomalybench export MODEL --format openvino."
            )
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    try:
        model = openvino.Core().read_model(file)
        compiled = openvino.compile_model(
            model, "CPU", settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
        )
    except RuntimeError as error:
        raise StoreError(f"{file}: OpenVINO cannot read it ({_reason(error)}). Export the model again.") from None
    if not model.has_rt_info(_PLACE):
        raise StoreError(f"{file}: no file that anomalybench has exported: it holds no card of a model.")
    card = card_of(model.get_rt_info(_PLACE).astype(str), str(file))
    names = [name for name in (SCORE, MAP) if any(name in one.get_names() for one in compiled.outputs)]
    own = threading.local()  # one request at a time is all that a request can do

    def run(images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer({IMAGE: images})
        return [np.array(found[name]) for name in names]

    return Model(card, predictor(run), "openvino")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[-1] if lines else type(error).__name__, 160)
