"""A model from its folder, with the engine that is asked for."""

from pathlib import Path

from anomalybench.core.errors import UsageError
from anomalybench.deploy.model import ENGINES, ONNX, Model


def load_model(folder: str | Path, engine: str | None = None, device: str = "cpu") -> Model:
    """A model from its folder: of a job, promoted, refitted or exported.

    Args:
        folder: A folder with `model.json`; or an exported `.onnx` file by itself, whose engine is `onnx`.
        engine: `torch`, with the method that fitted it; `onnx` or `openvino` for the exported file in the folder; by
            default `onnx` where there is such a file.
        device: Torch device name, for the engine `torch`.

    Raises:
        StoreError: The model is damaged, of a newer version, or was not exported.
        UsageError: No such engine, or a method that is not installed.
    """
    place = Path(folder)
    if engine is None:
        engine = "onnx" if (place / ONNX).exists() else "torch"
    if engine not in ENGINES:
        raise UsageError(f"engine '{engine}': there are {', '.join(ENGINES)}.")
    if place.suffix == ".onnx":
        engine = "onnx"
    if engine == "torch":
        from anomalybench.deploy.fitted import fitted

        card, method = fitted(place, device)
        return Model(card, method.predict, engine)
    if engine == "onnx":
        from anomalybench.deploy import onnx_model

        return onnx_model.load(place if place.suffix == ".onnx" else place / ONNX)
    from anomalybench.deploy import openvino_model

    return openvino_model.load(place)
