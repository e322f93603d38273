"""What a model says of itself: everything that it takes to use it, and to know what its decisions are worth.

A model is a fitted method in a folder: this card as `model.json`, its arrays beside it. The card travels with every
copy and export of the model, so that a file by itself still says where it comes from.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from anomalybench.core.job import Job
from anomalybench.core.method import Input, Supervision, WeightsSource
from anomalybench.core.record import Counts, Number

CARD = "model.json"
CARD_SCHEMA = 1
"""Version of the card's layout and of the folder around it."""
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_Quantiles = tuple[FiniteFloat, ...]


class Decision(BaseModel):
    """When an image is anomalous: if its score is greater than the threshold.

    Attributes:
        threshold: The threshold.
        measured: The threshold that the job's test figures were measured with. Where that is a calibration image's own
            score, `threshold` lies a little above it, so that rounding in another engine decides nothing.
        rule: The rule that it was fitted with.
        fitted: Whether it was fitted on calibration images at all; `fixed` is not.
        normal: Normal calibration images.
        anomalous: Defective ones.
    """

    model_config = _FROZEN

    threshold: FiniteFloat
    measured: FiniteFloat
    rule: str
    fitted: bool = True
    normal: int = 0
    anomalous: int = 0


class MapRange(BaseModel):
    """How anomaly maps are shown: one colour range for all images.

    Attributes:
        side: Side of a map in cells.
        low: Value of the darkest colour.
        high: Value of the brightest one.
    """

    model_config = _FROZEN

    side: int
    low: FiniteFloat
    high: FiniteFloat


class ModelCard(BaseModel):
    """A model's identity, input, decision, and what its calibration images were like.

    Attributes:
        schema_version: Layout of this card.
        job: The job that fitted it; for a refit, the job whose test figures speak for it.
        record: Id of that job's record.
        supervision: What it learned from.
        fitted_on: `train`, or `train+test` for a refit on all data, whose test figures are of the earlier fit.
        counts: How many images it was fitted, calibrated and tested on.
        fingerprint: Hash of the images and labels: see `dataset.fingerprint`.
        input: What happens to an image first.
        bits: Bits in use of 16-bit images, which are scaled by that range.
        weights: Source and licence of its frozen network; None without one.
        decision: Threshold and rule.
        maps: How its maps are shown; None without maps.
        normal_scores: Scores of the normal calibration images at evenly spaced quantiles, 0 to 1: all of them where
            they are few.
        anomalous_scores: Those of the defective ones.
        statistics: Statistics of the normal calibration images by name, in the same form: see `evaluate.statistics`.
        metrics: Test figures of the job by their names in the catalogue.
        intervals: Their 95 % confidence intervals.
        notes: What a user should know, in words.
        environment: Versions, machine, commit, date and command of the fit.
        arrays: Content hash of each array; the hash names the file of an array that models of a results folder share.
    """

    model_config = _FROZEN

    schema_version: Literal[1] = 1
    job: Job
    record: str
    supervision: Supervision | None = None
    fitted_on: Literal["train", "train+test"] = "train"
    counts: Counts = Counts()
    fingerprint: str = ""
    input: Input = Input()
    bits: Annotated[int, Field(ge=1, le=16)] = 16
    weights: WeightsSource | None = None
    decision: Decision
    maps: MapRange | None = None
    normal_scores: _Quantiles = ()
    anomalous_scores: _Quantiles = ()
    statistics: dict[str, _Quantiles] = Field(default_factory=dict)
    metrics: dict[str, Number] = Field(default_factory=dict)
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    arrays: dict[str, str] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        return f"{self.job.method.name} {self.job.dataset.name}/{self.job.category}"
