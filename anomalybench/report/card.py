"""The result card of a job: everything that its record says, and the command that makes it again."""

import json
import shlex
from typing import Any

from anomalybench.core.job import EXTERNAL, Choice, Record


def sections(record: Record) -> dict[str, dict[str, Any]]:
    """Names and values by title; sections without values are left out."""
    job = record.job
    about = {"threshold": record.threshold, "rule": record.threshold_rule, "learns from": record.supervision}
    about |= record.counts.model_dump() | record.costs.model_dump()
    about |= {"dataset fingerprint": record.fingerprint, "data": record.root}
    choices = {"method": job.method, "dataset": job.dataset, "protocol": job.protocol}
    found = {
        "job": job.model_dump(exclude=set(choices)) | {kind: choice.name for kind, choice in choices.items()},
        **{f"{kind} {choice.name}": choice.params for kind, choice in choices.items()},
        "result": about,
        "metrics (positive = anomalous)": record.metrics | record.pixel_metrics,
        "accuracy by defect": record.accuracy_by_defect,
        "sanity": record.sanity,
        "environment": record.environment,
    }
    return {title: values for title, values in found.items() if values}


def limits(record: Record) -> dict[str, str]:
    """Intervals in words, by metric."""
    return {name: f"{low:.3f} to {high:.3f}" for name, (low, high) in record.intervals.items()}


def cell(value: object) -> str:
    """A value as the card shows it."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def command(record: Record) -> str:
    """What to type to make this very job again, whatever the defaults are by then; it runs all folds of a protocol."""
    job = record.job
    name = job.method.name
    external = name.startswith(EXTERNAL)
    words = ["score", "FILE", "--name", name.removeprefix(EXTERNAL)] if external else ["run", "--methods", name]
    words += ["--dataset", job.dataset.name, "--protocol", job.protocol.name, "--seeds", str(job.seed)]
    values = _settings(job.dataset)
    if "," in job.category:
        values[f"{job.dataset.name}.categories"] = [job.category]
    else:
        words += ["--categories", job.category]
    if job.threshold is not None:
        words += ["--threshold", job.threshold.name]
    if job.explain and not external:
        words += ["--explain", str(job.explain)]
    if record.root:
        words += ["--data", record.root]
    for choice in (job.protocol, job.threshold, None if external else job.method):
        values |= _settings(choice) if choice else {}
    for key, value in values.items():
        words += ["--set", f"{key}={_yaml(value)}"]
    return shlex.join(["anomalybench", *words])


def _settings(choice: Choice) -> dict[str, Any]:
    return {f"{choice.name}.{key}": value for key, value in choice.params.items()}


def _yaml(value: Any) -> str:
    """JSON, but for numbers such as 1e-05, which YAML takes for text."""
    if isinstance(value, float) and "e" in (text := repr(value)) and "." not in text:
        return text.replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)
