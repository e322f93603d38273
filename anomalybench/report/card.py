"""The result card: everything that a record and its measurement say, and the command that reproduces them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from anomalybench.core import places
from anomalybench.core.job import EXTERNAL, Choice
from anomalybench.core.model_card import CARD
from anomalybench.core.record import Result


def sections(result: Result) -> dict[str, dict[str, Any]]:
    """Names and values by title; sections without values are left out."""
    record, measured = result.record, result.measurement
    job = record.job
    about: dict[str, Any] = {"learns from": record.supervision}
    if measured is not None:
        about = {"threshold": measured.threshold, "rule": measured.rule} | about
    if record.bits < 16:
        about["bits in use of 16"] = record.bits
    about |= record.counts.model_dump() | record.costs.model_dump()
    about |= {"dataset fingerprint": record.fingerprint, "data": record.root}
    choices = {"method": job.method, "dataset": job.dataset, "protocol": job.protocol}
    found = {
        "job": job.model_dump(exclude=set(choices)) | {kind: choice.name for kind, choice in choices.items()},
        **{f"{kind} {choice.name}": choice.params for kind, choice in choices.items()},
        "result": about,
        "metrics (positive = anomalous)": dict(result.metrics),
        "accuracy by defect": {} if measured is None else measured.accuracy_by_defect,
        "sanity": {} if measured is None else measured.sanity,
        "environment": record.environment,
    }
    return {title: values for title, values in found.items() if values}


def limits(result: Result) -> dict[str, str]:
    """Intervals in words, by metric."""
    intervals = {} if result.measurement is None else result.measurement.intervals
    return {name: f"{low:.3f} to {high:.3f}" for name, (low, high) in intervals.items()}


def cell(value: object) -> str:
    """A value as the card shows it."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def command(result: Result) -> str:
    """What to type to reproduce this very result, whatever the defaults are by then; it runs all folds."""
    record, job = result.record, result.record.job
    threshold = None if result.measurement is None else result.measurement.choice
    name = job.method.name
    external = name.startswith(EXTERNAL)
    words = (
        ["score", "FILE", "--name", name.removeprefix(EXTERNAL)]
        if external
        else ["run", "--methods", name, "--no-floors"]
    )
    words += ["--dataset", job.dataset.name, "--protocol", job.protocol.name, "--seeds", str(job.seed)]
    values = _settings(job.dataset)
    if "," in job.category:
        values[f"{job.dataset.name}.categories"] = [job.category]
    else:
        words += ["--categories", job.category]
    if threshold is not None:
        words += ["--threshold", threshold.name]
    if record.explanation is not None and not external:
        words += ["--explain", str(record.explanation.images)]
    if record.root:
        words += ["--data", record.root]
    for choice in (job.protocol, threshold, None if external else job.method):
        values |= _settings(choice) if choice else {}
    for key, value in values.items():
        words += ["--set", f"{key}={_yaml(value)}"]
    return shlex.join(["anomalybench", *words])


def use(result: Result, results: Path) -> list[str]:
    """What to type to put this result's model to work; empty where no model was kept.

    Args:
        result: Of a job.
        results: The results folder.
    """
    if CARD not in result.record.files:
        return []
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", result.record.job.category).strip("-") or "model"
    words = [
        ["models", "promote", result.id, "--as", name],
        ["predict", name, "IMAGES", "--out", "predictions.csv"],
        ["export", name],
        ["serve"],
    ]
    return [places.command(*line, results=results) for line in words]


def _settings(choice: Choice) -> dict[str, Any]:
    return {f"{choice.name}.{key}": value for key, value in choice.params.items()}


def _yaml(value: Any) -> str:
    """JSON, but for numbers such as 1e-05, which YAML takes for text."""
    if isinstance(value, float) and "e" in (text := repr(value)) and "." not in text:
        return text.replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)
