"""What a job left: its record, and what was measured on its scores and maps.

A fit can have several measurements, as with several threshold rules; none of them needs another fit. All of it is built
once, validated and frozen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from anomalybench.core.job import Choice, Job
from anomalybench.core.method import Supervision

SCHEMA = 2
"""Version of the layout of a job's folder; 0.1.0 wrote 1, without a number."""
MEASURE_VERSION = 1
"""Version of the formulas: add 1 whenever the same scores and maps give other numbers. Older measurements are measured
again, and never shown beside newer ones."""
Status = Literal["ok", "failed", "skipped"]
Number = Annotated[int, Field(ge=-(2**53), le=2**53)] | FiniteFloat | None
_Count = Annotated[int, Field(ge=0, le=10**8)]
_Side = Annotated[int, Field(ge=1, le=2**15)]
_FROZEN = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class MeasureOptions(BaseModel):
    """What to measure on a fit.

    Attributes:
        threshold: Threshold rule, or None for the default: see `thresholds.default_rule`.
        explain: On how many defective test images insertion and deletion are measured, the first by path.
    """

    model_config = _FROZEN

    threshold: Choice | None = None
    explain: _Count = 0


class Counts(BaseModel):
    """How many images the category has and a job used.

    Attributes:
        images: Images of the category.
        train_normal: Normal train images that the method was shown.
        train_anomalous: Defective ones.
        calibration: Calibration images.
        test: Test images.
        test_normal: Normal objects in the test part: an image without a group, or all of a group, is one.
        test_anomalous: Defective ones.
    """

    model_config = _FROZEN

    images: _Count = 0
    train_normal: _Count = 0
    train_anomalous: _Count = 0
    calibration: _Count = 0
    test: _Count = 0
    test_normal: _Count = 0
    test_anomalous: _Count = 0


class Costs(BaseModel):
    """What a job cost.

    Attributes:
        fit_s: Seconds to fit, reading the images included.
        predict_ms_per_image: Milliseconds per image to score and locate, reading included.
        latency_p50_ms: Milliseconds from a decoded image by itself to its score and map: median of a few images.
        latency_p95_ms: Their 95 % quantile.
        params_m: Millions of values in the fitted state.
        peak_memory_mb: Peak memory of the process during the job (of the accelerator where one is used), in MB.
        total_s: Seconds from the job's start to its outcome.
    """

    model_config = _FROZEN

    fit_s: FiniteFloat | None = None
    predict_ms_per_image: FiniteFloat | None = None
    latency_p50_ms: FiniteFloat | None = None
    latency_p95_ms: FiniteFloat | None = None
    params_m: FiniteFloat | None = None
    peak_memory_mb: FiniteFloat | None = None
    total_s: FiniteFloat | None = None


class Measurement(BaseModel):
    """What was measured on a fit's scores and maps with one threshold rule.

    Attributes:
        version: `MEASURE_VERSION` of the formulas.
        choice: The threshold rule asked for; None for the default.
        rule: The rule that was used, with its parameters.
        threshold: The fitted threshold; an image is anomalous if its score is greater.
        metrics: Metrics on the test part by their catalogue name; None where undefined. Positive = anomalous.
        accuracy_by_defect: Share of each defect type's test images (and of the good ones) judged right.
        intervals: 95 % confidence intervals (low, high) of metrics, over resampled test images.
        sanity: Checks of the scores: see `evaluate.sanity`.
        notes: What a reader should know before trusting the numbers, in words.
    """

    model_config = _FROZEN

    version: int
    choice: Choice | None = None
    rule: str
    threshold: float
    metrics: dict[str, Number] = Field(default_factory=dict)
    accuracy_by_defect: dict[str, FiniteFloat] = Field(default_factory=dict)
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    sanity: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`default`, or the rule that was asked for with its parameters."""
        return rule_name(self.choice)


class Explanation(BaseModel):
    """Insertion and deletion, for which the fitted method itself is asked.

    Attributes:
        images: On how many defective test images, the first by path; fewer where there are not so many.
        metrics: Metrics by their catalogue name.
    """

    model_config = _FROZEN

    images: _Count
    metrics: dict[str, Number]


class Record(BaseModel):
    """What one job left: everything the tables need.

    Attributes:
        schema_version: Layout of this record and of the files beside it.
        job: The job.
        status: `ok`, `failed` (run again by the same command) or `skipped` (method and protocol do not fit).
        error: Why it failed or was skipped.
        bad_input: The failure is the input's fault, not the program's.
        traceback: Where an unexpected failure happened.
        supervision: What the method learned from.
        root: Folder that the scores' paths are relative to, on the machine of the run.
        fingerprint: Hash of the category's items and their files' contents: see `dataset.fingerprint`.
        bits: Bits in use of the train part's 16-bit images: all images are scaled by that range.
        counts: How many images were used.
        costs: What the job cost.
        leaks: Paths of images with the same contents that lie on different sides of the split.
        notes: What a reader should know of the fit, in words.
        environment: Versions, platform, device, git commit and command.
        map_size: Height and width of the anomaly maps; None for a method without maps.
        files: Size in bytes of each file beside the record.
        measurements: What was measured, one for each threshold rule.
        explanation: Insertion and deletion, if they were asked for.
    """

    model_config = _FROZEN

    schema_version: Literal[2] = 2
    job: Job
    status: Status
    error: str | None = None
    bad_input: bool = False
    traceback: str | None = None
    supervision: Supervision | None = None
    root: str = ""
    fingerprint: str = ""
    bits: int = 16
    counts: Counts = Counts()
    costs: Costs = Costs()
    leaks: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    map_size: tuple[_Side, _Side] | None = None
    files: dict[str, int] = Field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    explanation: Explanation | None = None

    @property
    def id(self) -> str:
        """Names the result: the job's id, and which images it was measured on."""
        return f"{self.job.id}-{self.fingerprint[:8]}" if self.fingerprint else self.job.id

    @property
    def n_scores(self) -> int:
        """How many images have a score."""
        return self.counts.calibration + self.counts.test

    def holds(self, job: Job) -> bool:
        """Whether it is a result of the job: not failed, and no default has changed since without a new version."""
        agree = all(getattr(self.job, name).agrees(getattr(job, name)) for name in ("method", "dataset", "protocol"))
        return self.status != "failed" and self.job.id == job.id and agree

    def measured(self, options: MeasureOptions) -> bool:
        """Whether all that is asked for was measured by today's formulas, or nothing can be."""
        if self.status != "ok":
            return True
        explained = not options.explain or (self.explanation is not None and self.explanation.images >= options.explain)
        return explained and any(
            m.name == rule_name(options.threshold) and m.version == MEASURE_VERSION for m in self.measurements
        )


@dataclass(frozen=True)
class Result:
    """A record with one of its measurements: what tables and page have a row for.

    Attributes:
        record: What a job left.
        measurement: One of its measurements; None of a job that came to nothing.
    """

    record: Record
    measurement: Measurement | None = None

    @property
    def id(self) -> str:
        """Names the result among all of a results folder."""
        name = "default" if self.measurement is None else self.measurement.name
        return self.record.id + ("" if name == "default" else f"@{name}")

    @cached_property
    def metrics(self) -> Mapping[str, Number]:
        """All metrics by their catalogue name."""
        found: dict[str, Number] = {} if self.measurement is None else dict(self.measurement.metrics)
        return found if self.record.explanation is None else found | self.record.explanation.metrics

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know before trusting the numbers."""
        return self.record.notes + (() if self.measurement is None else self.measurement.notes)


def results_of(record: Record) -> list[Result]:
    """A result for each measurement by today's formulas; one without for a job that came to nothing."""
    current = [Result(record, one) for one in record.measurements if one.version == MEASURE_VERSION]
    return current if record.status == "ok" else [Result(record)]


def rule_name(choice: Choice | None) -> str:
    """What a measurement with this threshold rule is called: `default`, or as in `fpr(q=0.1)`."""
    if choice is None:
        return "default"
    values = ", ".join(f"{name}={_short(choice.params[name])}" for name in choice.chosen)
    return f"{choice.name}({values})" if values else choice.name


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
