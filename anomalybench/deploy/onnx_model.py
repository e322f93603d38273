"""An exported ONNX file as a model: ONNX Runtime, NumPy and Pillow; neither torch nor the method is needed."""

from pathlib import Path

import onnxruntime

from anomalybench.core.errors import StoreError, shortened
from anomalybench.deploy.bundle import card_of
from anomalybench.deploy.exported import CARD_KEY, IMAGE, predictor
from anomalybench.deploy.model import Model

_QUIET = 3


def load(file: Path, threads: int | None = None) -> Model:
    """The model of an exported file; several threads may use it at once.

    Args:
        file: The ONNX file.
        threads: How many threads compute; by default as many as there are cores.

    Raises:
        StoreError: It is missing, damaged, of a newer version, or no export of a model.
    """
    if not file.is_file():
        raise StoreError(f"{file}: there is no such file. Export the model: anomalybench export MODEL.")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _QUIET
    settings.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen kinds of its own, for files that are cut short or foreign
        reason = shortened(str(error).strip().partition("\n")[0], 160)
        raise StoreError(f"{file}: ONNX Runtime cannot read it ({reason}). Export the model again.") from None
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    names = [one.name for one in session.get_outputs()]
    if text is None or [one.name for one in session.get_inputs()] != [IMAGE]:
        raise StoreError(f"{file}: an ONNX file, but none that anomalybench has exported: it holds no card of a model.")
    card = card_of(text, str(file))
    return Model(card, predictor(lambda images: session.run(names, {IMAGE: images})), "onnx")
