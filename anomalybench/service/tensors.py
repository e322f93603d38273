"""Images and results as the JSON tensors of the Open Inference Protocol (V2)."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from anomalybench.core.errors import shortened
from anomalybench.service.examining import Examined
from anomalybench.service.refusals import RefusedError

INPUT = "image"
SCORE, MAP = "score", "map"
Parameter = StrictStr | StrictBool | StrictInt | StrictFloat
_Shape = list[Annotated[StrictInt, Field(ge=0)]]


class InferInput(BaseModel):
    """Images of the same size as numbers, flat or nested: n x height x width x 3, RGB."""

    name: Literal["image"]
    datatype: Literal["UINT8"]
    shape: _Shape = Field(min_length=4, max_length=4, examples=[[1, 1, 2, 3]])
    data: list[Any] = Field(description="Whole numbers from 0 to 255.", examples=[[200, 190, 180, 90, 80, 70]])
    parameters: dict[str, Parameter] = Field(default_factory=dict)


class WantedOutput(BaseModel):
    """An output that is asked for."""

    name: Literal["score", "map"]
    parameters: dict[str, Parameter] = Field(default_factory=dict)


class InferRequest(BaseModel):
    """Request for inference; the parameter `part` is the id of the part, for a split."""

    id: str | None = Field(default=None, max_length=256, examples=["41"])
    parameters: dict[str, Parameter] = Field(default_factory=dict, examples=[{"part": "0041"}])
    inputs: list[InferInput] = Field(min_length=1, max_length=1)
    outputs: list[WantedOutput] | None = Field(default=None, description="Without it, all of them.")


class InferOutput(BaseModel):
    """A result for each image, flat."""

    name: str = Field(examples=["score"])
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[1]])
    data: list[float] = Field(examples=[[4.31]])


class InferResponse(BaseModel):
    """Scores and maps; `parameters` hold the threshold and the ids of the decisions, separated by commas."""

    model_name: str = Field(examples=["pill"])
    model_version: str = Field(examples=["3"])
    id: str | None = Field(default=None, examples=["41"])
    parameters: dict[str, str | bool | float] = Field(
        examples=[{"threshold": 3.05, "verdicts": "anomalous", "decisions": "0c2f6a1e", "logged": True}]
    )
    outputs: list[InferOutput]


class TensorShown(BaseModel):
    """Name, type and shape of an input or an output; -1 stands for any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str = Field(examples=["pill"])
    versions: list[str] = Field(examples=[["3"]])
    platform: str = Field(examples=["onnxruntime_onnx"])
    inputs: list[TensorShown]
    outputs: list[TensorShown]


class ServerMetadata(BaseModel):
    """Name and version of the server."""

    name: str = Field(examples=["anomalybench"])
    version: str = Field(examples=["0.2.0"])
    extensions: list[str]


class ServerLive(BaseModel):
    """Whether the process answers."""

    live: bool = True


class ServerReady(BaseModel):
    """Whether a model is served."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model, or one of its versions, is in memory."""

    name: str
    ready: bool


def read_request(body: bytes) -> InferRequest:
    """A request from JSON.

    Raises:
        RefusedError: It is no such request.
    """
    try:
        return InferRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        status = 400 if first["type"] == "json_invalid" else 422
        raise RefusedError(status, f"{shortened(place)}: {first['msg']}.", "tensor") from None


def images_of(request: InferRequest, max_images: int, max_megapixels: float) -> NDArray[np.uint8]:
    """The images of a request, n x height x width x 3.

    Args:
        request: The request.
        max_images: How many are allowed.
        max_megapixels: How large each may be.

    Raises:
        RefusedError: Another shape, or values that are not whole numbers from 0 to 255.
    """
    tensor = request.inputs[0]
    n, height, width, channels = tensor.shape
    if channels != 3 or min(tensor.shape) < 1:
        raise RefusedError(422, f"shape {shortened(tensor.shape)}: give [n, height, width, 3] of at least 1.", "tensor")
    if n > max_images:
        raise RefusedError(413, f"{n} images: at most {max_images} (--max-images).", "images")
    if height * width > max_megapixels * 1e6:
        size = f"{width}x{height}"
        raise RefusedError(413, f"{size}: larger than {max_megapixels:g} megapixels.", "image_too_large")
    values = _values(tensor.data)
    if values.size != n * height * width * 3:
        raise RefusedError(422, f"data: {values.size} values do not fill the shape {tensor.shape}.", "tensor")
    return values.astype(np.uint8).reshape(n, height, width, 3)


def outputs_of(examined: Sequence[Examined], wanted: Sequence[WantedOutput] | None) -> list[InferOutput]:
    """Scores and maps of images.

    Args:
        examined: By one model; at least one.
        wanted: Which of them; None for all that the model has.

    Raises:
        RefusedError: Maps of a model that has none.
    """
    names = None if wanted is None else {one.name for one in wanted}
    outputs, maps = [], [one.verdict.map for one in examined if one.verdict.map is not None]
    if names is None or SCORE in names:
        scores = [one.verdict.score for one in examined]
        outputs.append(InferOutput(name=SCORE, datatype="FP32", shape=[len(scores)], data=_floats(np.array(scores))))
    if names and MAP in names and not maps:
        raise RefusedError(422, "output map: this model has no maps.", "tensor")
    if maps and (names is None or MAP in names):
        stacked = np.stack(maps)
        outputs.append(InferOutput(name=MAP, datatype="FP32", shape=list(stacked.shape), data=_floats(stacked)))
    return outputs


def _floats(values: NDArray[Any]) -> list[float]:
    found: list[float] = values.astype(np.float32).astype(np.float64).reshape(-1).tolist()
    return found


def _values(data: list[Any]) -> NDArray[np.integer[Any]]:
    """Numbers from a list, however nested."""
    try:
        values = np.asarray(data)
    except ValueError:
        raise RefusedError(422, "data: lists of different lengths.", "tensor") from None
    if values.dtype.kind not in "iu" or (values.size and not 0 <= values.min() <= values.max() <= 255):
        raise RefusedError(422, "data: UINT8 holds whole numbers from 0 to 255.", "tensor")
    return values.reshape(-1)
