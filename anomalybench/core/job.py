"""A job is everything that determines a result, as frozen data; a record is what the job left behind."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from anomalybench.core.method import Supervision

EXTERNAL = "external:"
"""What the name of a tool that is none of our methods begins with."""


class Choice(BaseModel):
    """A plugin, protocol or threshold rule by name, with all its parameters, defaults included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    params: dict[str, Any] = {}


class Job(BaseModel):
    """One fit and one measurement.

    Attributes:
        method: Method and parameters.
        version: The method's `version`.
        dataset: Dataset and options.
        category: Category of the dataset.
        protocol: Protocol and parameters.
        fold: Which of the protocol's splits; empty where it makes only one.
        seed: Seed of the split and of the fit.
        explain: On how many defective test images insertion and deletion are measured, the first by path.
        threshold: Threshold rule, or None for the default: `youden` if calibration holds defects, else
            `normal_quantile`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Choice
    version: int
    dataset: Choice
    category: str
    protocol: Choice
    fold: str = ""
    seed: int = 0
    explain: int = 0
    threshold: Choice | None = None

    @property
    def id(self) -> str:
        """Hash of the job in canonical form (keys sorted, no spaces): 16 hexadecimal digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        parts = [self.method.name, f"{self.dataset.name}/{self.category}", self.protocol.name]
        return " ".join(parts + [f"fold {self.fold}"] * bool(self.fold) + [f"seed {self.seed}"])


Status = Literal["ok", "failed", "skipped"]


class Counts(BaseModel):
    """How many images the category has, how many a job used, and how many train images its method was shown."""

    images: int = 0
    train_normal: int = 0
    train_anomalous: int = 0
    calibration: int = 0
    test: int = 0


class Costs(BaseModel):
    """What a job cost.

    Attributes:
        fit_s: Seconds to fit, reading the images included.
        predict_ms_per_image: Milliseconds per image to score and locate, reading included.
        params_m: Millions of values in the fitted state.
        peak_memory_mb: Peak memory of the process during the job (of the accelerator where one is used), in MB.
        total_s: Seconds from the job's start to its outcome.
    """

    fit_s: float | None = None
    predict_ms_per_image: float | None = None
    params_m: float | None = None
    peak_memory_mb: float | None = None
    total_s: float | None = None


class Record(BaseModel):
    """What one job left: everything the tables need.

    Attributes:
        job: The job.
        status: `ok`, `failed` (run again by the same command) or `skipped` (method and protocol do not fit).
        error: Why it failed or was skipped.
        bad_input: The failure is the input's fault, not the program's.
        traceback: Where an unexpected failure happened.
        supervision: What the method learned from.
        root: Folder that the scores' paths are relative to, on the machine of the run; figures read images there.
        fingerprint: Hash of the category's items and their files' contents: see `dataset.fingerprint`.
        threshold: The fitted threshold; an image is anomalous if its score is greater.
        threshold_rule: The rule that fitted it.
        metrics: Image metrics on the test part; None where undefined. Positive = anomalous.
        pixel_metrics: How well the maps locate defects; empty where there are no masks or no maps.
        accuracy_by_defect: Share of each defect type's test images (and of the good ones) judged right.
        intervals: 95 % confidence intervals (low, high) of metrics and pixel metrics, over resampled test images.
        sanity: Checks of the scores: see `evaluate.sanity`.
        leaks: Paths of images with the same contents that lie on different sides of the split.
        notes: What a reader should know before trusting the numbers, in words.
        environment: Versions, platform, device, git commit and command.
        files: Size in bytes of each file beside the record.
    """

    job: Job
    status: Status
    error: str | None = None
    bad_input: bool = False
    traceback: str | None = None
    supervision: Supervision | None = None
    root: str = ""
    fingerprint: str = ""
    counts: Counts = Counts()
    costs: Costs = Costs()
    threshold: float | None = None
    threshold_rule: str | None = None
    metrics: dict[str, int | float | None] = Field(default_factory=dict)
    pixel_metrics: dict[str, int | float | None] = Field(default_factory=dict)
    accuracy_by_defect: dict[str, float] = Field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    sanity: dict[str, float | None] = Field(default_factory=dict)
    leaks: list[list[str]] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    files: dict[str, int] = Field(default_factory=dict)
