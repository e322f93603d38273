"""What the service takes and gives, as JSON; the descriptions are those of its OpenAPI page."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from anomalybench.core.model_card import ModelCard

_FORBID = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, le=1)]


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="What was seen, and what will work.", examples=["image: field is missing."])


class BoxShape(BaseModel):
    """A half-open pixel range in the image: all of row `top`, none of row `bottom`."""

    top: int
    left: int
    bottom: int
    right: int


class Answer(BaseModel):
    """The verdict on one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "file": "part-0041.png",
                    "model": "pill",
                    "version": 3,
                    "decision": "0c2f6a1e9d7b4c55a3a5d2f4b6c8e0f1",
                    "score": 4.31,
                    "threshold": 3.05,
                    "verdict": "anomalous",
                    "boxes": [{"top": 120, "left": 64, "bottom": 180, "right": 131}],
                    "map": None,
                    "logged": True,
                }
            ]
        }
    )

    file: str | None = Field(description="Name of the file as it was given.")
    model: str
    version: int = Field(description="Version of the model that has decided.")
    decision: str = Field(description="Id of this decision, for feedback.")
    score: FiniteFloat = Field(description="Higher means more anomalous.")
    threshold: FiniteFloat = Field(description="An image with a higher score is anomalous.")
    verdict: Literal["normal", "anomalous"]
    boxes: list[BoxShape] = Field(description="Around what the anomaly map marks; empty for a normal image.")
    map: str | None = Field(
        default=None,
        description="With ?map=png: the anomaly map as a grey PNG file in base64, in the model's own cells; 0 and 255 "
        "are the ends of the model's display range. null for a model without maps.",
    )
    logged: bool = Field(description="Whether the decision is in the log; false while the log cannot be written.")


class ArmShown(BaseModel):
    """A version's share of the traffic."""

    selector: str = Field(description="As in the split: current, previous or a number.", examples=["current"])
    percent: float = Field(examples=[90.0])
    version: int | None = Field(description="The version that answers; null while there is none.", examples=[3])


class ModelShown(BaseModel):
    """A promoted model and what is served of it."""

    name: str = Field(examples=["pill"])
    current: int | None = Field(description="The promoted version; null while it cannot be told.", examples=[3])
    serving: list[int] = Field(description="Versions in memory.", examples=[[2, 3]])
    split: list[ArmShown] = Field(description="Who answers which share of the requests.")
    pending: list[str] = Field(description="What keeps a version from being served, in words; empty if nothing does.")


class ModelDetails(ModelShown):
    """A promoted model, with the card of the version that answers as the current one."""

    versions: list[int] = Field(description="Versions in the results folder.", examples=[[1, 2, 3]])
    card: ModelCard | None = Field(description="Everything that the model says of itself.")


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Whether the service can be used, and how well."""

    status: Literal["ready", "degraded", "unavailable"] = Field(
        description="degraded: requests are answered, but something needs attention. unavailable: no model is served."
    )
    models: dict[str, list[int]] = Field(description="Versions in memory by model.", examples=[{"pill": [3]}])
    pending: list[str] = Field(description="What keeps a promoted version from being served.")
    log_writable: bool = Field(description="Whether decisions and feedback are kept.")
    log_error: str | None = Field(description="Why the log cannot be written.")
    queue: int = Field(description="Requests in work or waiting.")
    queue_limit: int


class Feedback(BaseModel):
    """What an operator found when looking at the part."""

    model_config = _FORBID

    decision: str = Field(
        min_length=1, max_length=64, description="Id of the decision.", examples=["0c2f6a1e9d7b4c55a3a5d2f4b6c8e0f1"]
    )
    verdict: Literal["ok", "defect"] = Field(description="What the part really is.")
    note: str | None = Field(default=None, max_length=2000, examples=["scratch on the rim"])


class FeedbackKept(BaseModel):
    """Feedback that is on the disk. The latest of a decision counts; earlier ones stay in the log."""

    decision: str
    verdict: Literal["ok", "defect"]
    time: str = Field(examples=["2026-05-04T08:15:30.123+00:00"])


class ShareShown(BaseModel):
    """A share with its 95 % interval (Wilson)."""

    count: int
    of: int
    share: Share | None = Field(description="null where there is nothing to count.")
    low: Share
    high: Share


class VersionCompared(BaseModel):
    """How a version's decisions compare with what operators said."""

    version: int
    decisions: int
    anomalous: int = Field(description="Decisions that called the image anomalous.")
    feedback: int = Field(description="Decisions with feedback.")
    agreement: ShareShown = Field(description="Decisions that the operator agreed with, of those with feedback.")
    false_alarms: ShareShown = Field(description="Called anomalous, of those that the operator called ok.")
    misses: ShareShown = Field(description="Called normal, of those that the operator called a defect.")
    judged_alarms: ShareShown = Field(description="Anomalous decisions that have feedback.")
    judged_normal: ShareShown = Field(description="Normal decisions that have feedback.")


class Difference(BaseModel):
    """Two versions by one share; the interval is Newcombe's (1998) from both Wilson intervals."""

    what: Literal["agreement", "false_alarms", "misses"]
    version: int
    other: int
    difference: float = Field(description="The version's share minus the other's.")
    low: float
    high: float
    conclusion: str = Field(description="What can be concluded, in a sentence.")


class Comparison(BaseModel):
    """What the log says of a model's versions."""

    model: str
    since: str | None
    versions: list[VersionCompared]
    differences: list[Difference]
    remarks: list[str] = Field(description="What the numbers cannot tell.")


class QuantityShown(BaseModel):
    """One quantity of the last images beside that of the calibration images."""

    name: str = Field(examples=["brightness"])
    psi: float | None = Field(description="Population stability index.")
    ks: float | None = Field(description="Kolmogorov-Smirnov distance, 0 to 1.")
    p: float | None = Field(description="Its p-value, adjusted over all quantities.")
    median: float | None
    reference_median: float | None
    level: Literal["none", "moderate", "strong"]


class DriftShown(BaseModel):
    """Whether a version's last images are like its calibration images."""

    model: str
    version: int
    images: int = Field(description="How many of the last images are compared.")
    anomalous: int = Field(description="How many of them were called anomalous.")
    level: Literal["none", "moderate", "strong"]
    sentences: list[str] = Field(description="What to say about it, in words.")
    quantities: list[QuantityShown]


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The part of a route's description that says that its body is JSON of this model.

    The routes read their bodies themselves, bounded and in a worker thread, so that FastAPI cannot tell.
    """
    schema = model.model_json_schema()
    content = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": content}}}}


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its definitions put where they are referred to."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _inlined(definitions[value["$ref"].rpartition("/")[2]], definitions)
        return {key: _inlined(part, definitions) for key, part in value.items()}
    return [_inlined(part, definitions) for part in value] if isinstance(value, list) else value
