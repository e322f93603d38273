"""A model from its folder, with the engine that is asked for."""

import importlib.util
from pathlib import Path

from anomalybench.core.errors import UsageError
from anomalybench.deploy.bundle import WEIGHTS
from anomalybench.deploy.model import ENGINES, ONNX, OPENVINO, Model


def load_model(folder: str | Path, engine: str | None = None, device: str = "cpu") -> Model:
    """A model from its folder: of a job, promoted, refitted or exported.

    Args:
        folder: A folder with `model.json`; or an exported `.onnx` file by itself, whose engine is `onnx`.
        engine: `torch`, with the method that fitted it; `onnx` or `openvino` for the exported file in the folder; by
            default `onnx` where there is such a file, else `openvino` where there is one, else `torch`.
        device: Torch device name, for the engine `torch`.

    Raises:
        StoreError: The model is damaged, of a newer version, or was not exported.
        UsageError: No such engine, one that cannot run an exported file, or a method that is not installed.
    """
    place = Path(folder)
    engine = engine or _default(place)
    if engine not in ENGINES:
        raise UsageError(f"engine '{engine}': there are {', '.join(ENGINES)}.")
    if place.suffix == ".onnx" and engine != "onnx":
        raise UsageError(
            f"{place}: an exported file, which the engine onnx runs. For {engine}, name the folder of the model."
        )
    if engine == "torch":
        from anomalybench.deploy.fitted import fitted

        card, method = fitted(place, device)
        return Model(card, method.predict, engine)
    if engine == "onnx":
        from anomalybench.deploy import onnx_model

        return onnx_model.load(place if place.suffix == ".onnx" else place / ONNX)
    from anomalybench.deploy import openvino_model

    return openvino_model.load(place)


def _default(place: Path) -> str:
    """The engine for a folder or file where none is asked for."""
    if place.suffix == ".onnx" or (place / ONNX).exists():
        return "onnx"
    there = (place / OPENVINO).exists()
    fitted = (place / WEIGHTS).exists()
    return "openvino" if there and (not fitted or importlib.util.find_spec("openvino") is not None) else "torch"
