"""The Open Inference Protocol (V2), which KServe, Triton and their clients speak.

Names and shapes are the protocol's. Images as JSON take far more memory and time than as files, and while they are
parsed no other thread runs (64 MB took .5 GB and 15 s): so there is a smaller limit for them, and each takes a share of
the memory for uploads that fits what it becomes.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import shortened
from anomalybench.service.engine import Decided, Engine
from anomalybench.service.refusals import RefusedError
from anomalybench.service.schemas import body_of
from anomalybench.service.serving import Loaded, Served
from anomalybench.service.tensors import (
    INPUT,
    MAP,
    SCORE,
    InferRequest,
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorShown,
    images_of,
    outputs_of,
    read_request,
)
from anomalybench.service.uploads import LONGEST_PART, Bounds, check_type, read_body
from anomalybench.service.web import FastAPI, JSONResponse, Path, Request, Response, Tags

JSON = "application/json"
_MOST = 16_000_000
_WEIGHT = 30
"""Bytes of memory for each byte of JSON: 24 were measured for a flat list of digits, 56 for a list of lists of one."""
Name = Annotated[str, Path(description="Name of a promoted model.", examples=["pill"])]
Version = Annotated[str, Path(description="Number of a version that is in memory.", examples=["3"])]


class V2:
    """The routes of the protocol.

    Args:
        engine: What they are about.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        advice = "Send fewer or smaller images, or files to /models/NAME/predict."
        self._bounds = Bounds(min(_MOST, engine.settings.max_body), advice, _WEIGHT)

    def add(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        one, versioned = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
        tags: Tags = ["Open Inference Protocol"]
        app.add_api_route("/v2", self.server, tags=tags, response_model=ServerMetadata)
        app.add_api_route("/v2/health/live", self.live, tags=tags, response_model=ServerLive)
        for path, function, model in (
            ("/v2/health/ready", self.ready, ServerReady),
            (f"{one}/ready", self.model_ready, ModelReady),
            (f"{versioned}/ready", self.version_ready, ModelReady),
        ):
            app.add_api_route(path, function, tags=tags, response_model=model, responses={503: {"model": model}})
        app.add_api_route(one, self.metadata, tags=tags, response_model=ModelMetadata)
        app.add_api_route(versioned, self.version_metadata, tags=tags, response_model=ModelMetadata)
        for path, infer in ((f"{one}/infer", self.infer), (f"{versioned}/infer", self.version_infer)):
            app.add_api_route(
                path,
                infer,
                methods=["POST"],
                tags=tags,
                response_model=InferResponse,
                openapi_extra=body_of(InferRequest),
            )

    async def server(self) -> ServerMetadata:
        """Name and version of the server."""
        from anomalybench import __version__

        return ServerMetadata(name="anomalybench", version=__version__, extensions=[])

    async def live(self) -> ServerLive:
        """Whether the process answers."""
        return ServerLive()

    async def ready(self) -> Response:
        """Whether a model is served."""
        ready = any(one.main for one in self._engine.serving.models.values())
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, name: Name) -> Response:
        """Whether a model is served."""
        return _readiness(name, ready=self._engine.served(name).main is not None)

    async def version_ready(self, name: Name, version: Version) -> Response:
        """Whether a version is in memory; 404 where there is no such version."""
        served = self._engine.served(name)
        number = _number(version)
        if number not in served.versions and number not in served.there:
            raise RefusedError(404, f"{served.name} has no version {shortened(version)}.", "unknown_version")
        return _readiness(name, ready=number in served.versions)

    async def metadata(self, name: Name) -> ModelMetadata:
        """What a model takes and gives."""
        served = self._engine.served(name)
        if served.main is None:
            raise RefusedError(503, " ".join(served.pending) or f"{name}: no version is in memory.", "no_version")
        return _metadata(served, served.main)

    async def version_metadata(self, name: Name, version: Version) -> ModelMetadata:
        """What a version takes and gives."""
        served = self._engine.served(name)
        return _metadata(served, self._engine.version(served, _number(version)))

    async def infer(self, request: Request, name: Name) -> Response:
        """Scores and maps of images; the split decides which version answers."""
        return await self._infer(request, self._engine.served(name), None)

    async def version_infer(self, request: Request, name: Name, version: Version) -> Response:
        """Scores and maps of images by one version, whatever the split."""
        served = self._engine.served(name)
        return await self._infer(request, served, self._engine.version(served, _number(version)))

    async def _infer(self, request: Request, served: Served, version: Loaded | None) -> Response:
        engine, settings = self._engine, self._engine.settings
        check_type(request, JSON)
        with engine.budget.reserved() as reserved:
            body = await read_body(request, self._bounds, reserved, settings.timeout_s)
            with engine.admitted():
                wanted, images = await engine.aside(lambda: self._read(body))
                decided = await engine.decide_arrays(images, _part(wanted), served, version)
                text = await engine.aside(lambda: _response(wanted, served.name, decided))
        return Response(text, media_type=JSON)

    def _read(self, body: bytes) -> tuple[InferRequest, NDArray[np.uint8]]:
        wanted, settings = read_request(body), self._engine.settings
        return wanted, images_of(wanted, settings.max_images, settings.max_megapixels)


def _readiness(name: str, *, ready: bool) -> Response:
    return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)


def _metadata(served: Served, loaded: Loaded) -> ModelMetadata:
    outputs = [TensorShown(name=SCORE, datatype="FP32", shape=[-1])]
    if maps := loaded.model.card.maps:
        outputs.append(TensorShown(name=MAP, datatype="FP32", shape=[-1, maps.side, maps.side]))
    return ModelMetadata(
        name=served.name,
        versions=[str(version) for version in sorted(served.versions)],
        platform="onnxruntime_onnx",
        inputs=[TensorShown(name=INPUT, datatype="UINT8", shape=[-1, -1, -1, 3])],
        outputs=outputs,
    )


def _response(wanted: InferRequest, name: str, decided: Decided) -> str:
    rows = [one.row for one in decided.examined]
    return InferResponse(
        model_name=name,
        model_version=str(rows[0].version),
        id=wanted.id,
        parameters={
            "threshold": rows[0].threshold,
            "verdicts": ",".join(row.verdict for row in rows),
            "decisions": ",".join(row.id for row in rows),
            "logged": decided.logged,
        },
        outputs=outputs_of(decided.examined, wanted.outputs),
    ).model_dump_json(exclude_none=True)


def _part(wanted: InferRequest) -> str | None:
    part = wanted.parameters.get("part")
    if part is not None and not (isinstance(part, str) and 0 < len(part) <= LONGEST_PART):
        raise RefusedError(422, f"parameters.part: a text of 1 to {LONGEST_PART} characters.", "field")
    return part


def _number(text: str) -> int:
    """A version's number; -1, which is none, for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
