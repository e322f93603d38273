"""The routes of the service; what they do is in the modules beside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import TypeAdapter, ValidationError

from anomalybench.core.errors import shortened
from anomalybench.service import describing
from anomalybench.service.access import Access
from anomalybench.service.engine import Decided, Engine
from anomalybench.service.examining import map_png
from anomalybench.service.log import FeedbackRow, now
from anomalybench.service.refusals import RefusedError
from anomalybench.service.schemas import (
    Answer,
    BoxShape,
    Comparison,
    DriftShown,
    Feedback,
    FeedbackKept,
    Live,
    ModelDetails,
    ModelShown,
    Ready,
    Refusal,
    body_of,
)
from anomalybench.service.uploads import FORM, Bounds, check_type, read_body, read_form
from anomalybench.service.v2 import JSON, V2, Name
from anomalybench.service.web import (
    CONTENT_TYPE_LATEST,
    APIKeyHeader,
    FastAPI,
    HTTPBearer,
    JSONResponse,
    Query,
    Request,
    RequestValidationError,
    Response,
    Security,
    Tags,
)

_ANSWERS = TypeAdapter(list[Answer])
_FEEDBACK = Bounds(20_000, "Send a shorter note.")
_STATUSES = {
    400: "The request is damaged.",
    401: "The key is missing or wrong.",
    404: "No such model, version or decision.",
    408: "The request did not arrive in time.",
    413: "Too large, too many images, or too many pixels.",
    415: "Another content type or image format than those that are read.",
    422: "A field is missing or wrong, or an image is broken.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "An error of the service.",
    503: "No version is served, or the log cannot be written.",
    504: "The answer took too long.",
}
_FORM_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "Files: PNG, JPEG, TIFF, BMP, WebP, GIF, PNM or JPEG 2000.",
                        },
                        "part": {
                            "type": "string",
                            "maxLength": 256,
                            "description": "Id of the part: all its images get the same version of a split.",
                        },
                    },
                },
                "example": {"image": ["(contents of part-0041.png)"], "part": "0041"},
                "encoding": {"image": {"contentType": "image/png, image/jpeg, image/tiff, image/bmp, image/webp"}},
            }
        },
    }
}


class Routes:
    """The service's own routes; those of the Open Inference Protocol are in `v2`.

    Args:
        engine: What they are about.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        one, add = "/models/{name}", app.add_api_route
        verdicts: Tags = ["Verdicts"]
        models: Tags = ["Models"]
        operation: Tags = ["Operation"]
        add(
            f"{one}/predict", self.predict, methods=["POST"], tags=verdicts, response_model=list[Answer],
            openapi_extra=_FORM_BODY,
        )  # fmt: skip
        add(
            "/feedback", self.feedback, methods=["POST"], tags=verdicts, response_model=FeedbackKept,
            openapi_extra=body_of(Feedback),
        )  # fmt: skip
        add("/models", self.models, tags=models, response_model=list[ModelShown])
        add(one, self.model, tags=models, response_model=ModelDetails)
        add(f"{one}/comparison", self.comparison, tags=models, response_model=Comparison)
        add(f"{one}/drift", self.drift, tags=models, response_model=list[DriftShown])
        add("/health/live", self.live, tags=operation, response_model=Live)
        add("/health/ready", self.ready, tags=operation, response_model=Ready, responses={503: {"model": Ready}})
        text: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text of Prometheus."}
        }
        add("/metrics", self.metrics, tags=operation, response_class=Response, responses=text)

    async def predict(
        self,
        request: Request,
        name: Name,
        map: Annotated[  # noqa: A002, the name in the address
            Literal["png"] | None, Query(description="png: add the anomaly map of each image.")
        ] = None,
    ) -> Response:
        """The verdicts on one or more images, in their order. If one image is refused, all are, and none is logged."""
        engine, settings = self._engine, self._engine.settings
        served = engine.served(name)
        check_type(request, FORM)
        with engine.budget.reserved() as reserved:
            body = await read_body(request, Bounds(settings.max_body), reserved, settings.timeout_s)
            with engine.admitted():
                kind = request.headers["content-type"]
                form = await engine.aside(lambda: read_form(body, kind, settings.max_images))
                decided = await engine.decide_form(form, served)
                text = await engine.aside(lambda: _ANSWERS.dump_json(_answers(decided, with_map=map == "png")))
        return Response(text, media_type=JSON)

    async def feedback(self, request: Request) -> FeedbackKept:
        """Keep what an operator found; the answer is sent once it is on the disk. The latest of a decision counts."""
        check_type(request, JSON)
        with self._engine.budget.reserved() as reserved:
            body = await read_body(request, _FEEDBACK, reserved, self._engine.settings.timeout_s)
        try:
            given = Feedback.model_validate_json(body)
        except ValidationError as error:
            raise _invalid(error.errors()[0]) from None
        row = FeedbackRow(given.decision, now(), given.verdict, given.note)
        await self._engine.feedback(row)
        return FeedbackKept(decision=row.decision, verdict=row.verdict, time=row.time)

    async def models(self) -> list[ModelShown]:
        """The promoted models and what is served of them."""
        return [describing.model(one) for one in self._engine.serving.models.values()]

    async def model(self, name: Name) -> ModelDetails:
        """A model with its card, versions and split."""
        return describing.details(self._engine.served(name))

    async def comparison(
        self,
        name: Name,
        since: Annotated[
            str | None, Query(description="Count decisions from this time on (ISO 8601).", examples=["2026-05-04"])
        ] = None,
    ) -> Comparison:
        """How a model's versions compare by what operators said of their decisions."""
        self._engine.served(name)
        return await asyncio.to_thread(describing.comparison, self._engine.log.file, name, since)

    async def drift(self, name: Name) -> list[DriftShown]:
        """Whether the last images are like the calibration images, for each version in memory."""
        served = self._engine.served(name)
        return await asyncio.to_thread(lambda: [describing.drift(one) for one in served.versions.values()])

    async def live(self) -> Live:
        """Whether the process answers."""
        return Live()

    async def ready(self) -> Response:
        """Whether requests are answered, and what needs attention."""
        shown = await describing.readiness(self._engine)
        return JSONResponse(shown.model_dump(), 503 if shown.status == "unavailable" else 200)

    async def metrics(self) -> Response:
        """Counters and gauges for Prometheus."""
        text = await asyncio.to_thread(describing.metrics, self._engine)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def create_app(engine: Engine) -> FastAPI:
    """The application of a service; it starts and stops the engine."""
    from anomalybench import __version__

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.stop)

    key = engine.settings.api_key
    schemes = (APIKeyHeader(name="X-API-Key", auto_error=False), HTTPBearer(auto_error=False))
    app = FastAPI(
        title="anomalybench",
        version=__version__,
        summary="Verdicts of promoted models on images.",
        lifespan=lifespan,
        redoc_url=None,
        responses={status: {"model": Refusal, "description": text} for status, text in _STATUSES.items()},
        dependencies=[] if key is None else [Security(scheme) for scheme in schemes],
    )
    Routes(engine).add(app)
    V2(engine).add(app)
    _handle_errors(app, engine)
    app.add_middleware(Access, key=key, metrics=engine.metrics)
    return app


def _handle_errors(app: FastAPI, engine: Engine) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        engine.metrics.rejected.labels(error.reason).inc()
        return JSONResponse({"error": error.text}, error.status, headers=dict(error.headers))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await refused(request, _invalid(error.errors()[0]))

    def plain(status: int, text: str) -> None:
        async def handler(request: Request, error: Exception) -> Response:
            headers = getattr(error, "headers", None)
            return JSONResponse({"error": text}, status, headers=headers)

        app.add_exception_handler(status, handler)

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    plain(404, "there is no such address; /docs lists all of them.")
    plain(405, "this address has another method; /docs lists all of them.")
    plain(500, "an error of the service itself; its log of errors says more.")


def _invalid(error: Any) -> RefusedError:
    """The refusal for what pydantic found first."""
    place = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path"))
    status = 400 if error["type"] == "json_invalid" else 422
    return RefusedError(status, f"{shortened(place) if place else 'the body'}: {error['msg']}.", "field")


def _answers(decided: Decided, *, with_map: bool) -> list[Answer]:
    return [
        Answer(
            file=one.row.file,
            model=one.row.model,
            version=one.row.version,
            decision=one.row.id,
            score=one.row.score,
            threshold=one.row.threshold,
            verdict="anomalous" if one.verdict.anomalous else "normal",
            boxes=[
                BoxShape(top=box.top, left=box.left, bottom=box.bottom, right=box.right) for box in one.verdict.boxes
            ],
            map=map_png(one.verdict.map, one.verdict.shown)
            if with_map and one.verdict.map is not None and one.verdict.shown
            else None,
            logged=decided.logged,
        )
        for one in decided.examined
    ]
