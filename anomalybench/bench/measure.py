"""From raw scores and maps to a measurement: threshold, metrics, intervals, checks. Fitting has no part in it.

The runner, other tools' scores and `remeasure` all end here, so that the same scores give the same numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench import localise
from anomalybench.bench.item_table import ItemTable
from anomalybench.bench.suite import FLOORS
from anomalybench.core import parameters
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Item
from anomalybench.core.errors import DataError
from anomalybench.core.files import none_for_nan
from anomalybench.core.job import Choice, Job
from anomalybench.core.method import Prediction
from anomalybench.core.protocol import Split
from anomalybench.core.record import MEASURE_VERSION, Counts, Measurement
from anomalybench.evaluate import catalogue, image, sanity, thresholds, uncertainty
from anomalybench.evaluate.thresholds import RULES, Rule

Arrays = dict[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Measured:
    """What scores and maps say.

    Attributes:
        measurement: The numbers.
        resamples: Metrics in every resample of the test images.
    """

    measurement: Measurement
    resamples: Arrays


@dataclass(frozen=True)
class Scored:
    """What is measured.

    Attributes:
        job: The job.
        root: What the paths are relative to.
        scores: One row per calibration and test image, as `score_table` makes it.
        maps: n x h x w anomaly maps in the order of the scores; None for a method without maps.
    """

    job: Job
    root: Path
    scores: pd.DataFrame
    maps: NDArray[np.float32] | None


def check_test(job: Job, split: Split) -> None:
    """DataError if the test part holds no normal images."""
    if not count(split.test, NORMAL):
        raise DataError(
            f"{job.dataset.name}/{job.category}: the test part holds no normal images, so nothing can be measured. "
            "Add normal images, or take another protocol (kfold tests every image once)."
        )


def threshold_rule(choice: Choice | None, job: Job, labels: Sequence[int]) -> Rule:
    """The rule asked for, or the default one for what calibration holds; DataError if its labels are not enough."""
    normal, anomalous = (sum(label == kind for label in labels) for kind in (NORMAL, ANOMALOUS))
    if choice is None:
        rule = thresholds.default_rule(normal, anomalous)
    else:
        rule = parameters.build(RULES[choice.name], choice.name, choice.params)
    where = f"{job.dataset.name}/{job.category}: the calibration part of protocol {job.protocol.name}"
    if rule.needs_anomalous and not anomalous:
        raise DataError(f"{where} holds no defects, which {rule.name} needs. Take normal_quantile or fpr.")
    if rule.name != "fixed" and not normal:
        raise DataError(f"{where} holds no normal images, which {rule.name} needs. Take a greater calibration share.")
    return rule


def score_table(split: Split, prediction: Prediction) -> pd.DataFrame:
    """Scores of the calibration images, then of the test images, each in the order of the split."""
    rows = [("calibration", item) for item in split.calibration] + [("test", item) for item in split.test]
    return pd.DataFrame(
        {
            "path": [item.path for _, item in rows],
            "split": [part for part, _ in rows],
            "label": [item.label for _, item in rows],
            "defect": [item.defect for _, item in rows],
            "mask": [item.mask for _, item in rows],
            "group": [item.group for _, item in rows],
            "score": prediction.scores.astype(np.float64),
        }
    )


def measure(scored: Scored, choice: Choice | None) -> Measured:
    """Everything that scores and maps say with a threshold rule; None for the default one.

    Raises:
        DataError: The calibration part is not enough for the rule.
    """
    known, test = (scored.scores[scored.scores["split"] == part] for part in ("calibration", "test"))
    rule = threshold_rule(choice, scored.job, known["label"].tolist())
    threshold = rule.fit(known["score"], known["label"])
    items = _items(scored.job.category, test)
    weight = uncertainty.weights(_keys(scored.job, items))
    metrics = none_for_nan(catalogue.measure_image(test["score"], test["label"], threshold))
    fast = uncertainty.resample(test["score"], test["label"], threshold, weight)
    resamples: Arrays = {**fast, **catalogue.resample_image(test["score"], test["label"], threshold, weight, fast)}
    if scored.maps is not None:
        called = (test["score"] > threshold).to_numpy()
        located = localise.measure(scored.root, items, scored.maps[-len(items) :], called, weight)
        metrics |= located.metrics
        resamples |= located.resamples
    checks = sanity.check(
        (known["score"], known["label"]), (test["score"], test["label"]), np.random.default_rng(scored.job.seed)
    )
    measurement = Measurement(
        version=MEASURE_VERSION,
        choice=choice,
        rule=_described(rule),
        threshold=threshold,
        metrics=metrics,
        accuracy_by_defect=image.accuracy_by_defect(test["score"], test["label"], list(test["defect"]), threshold),
        intervals=_intervals(metrics, resamples, _in_objects(items, metrics)),
        sanity=checks.as_dict(),
        notes=(*_remarks(rule, known), *_suspicions(checks, metrics["auroc"], items, scored.job)),
    )
    return Measured(measurement, resamples)


def named(measured: Measured, before: Mapping[str, NDArray[np.floating[Any]]]) -> Arrays:
    """Resamples of all measurements of a job: those that differ from the default rule's are named after their rule.

    Args:
        measured: The new measurement.
        before: Resamples of the others.
    """
    rule = measured.measurement.name
    own = f"@{rule}"
    kept: Arrays = {name: values for name, values in before.items() if not name.endswith(own)}
    for name, drawn in measured.resamples.items():
        values = drawn.astype(np.float32)
        if rule == "default" or name not in kept:
            kept[name] = values
        elif not np.array_equal(kept[name], values, equal_nan=True):
            kept[f"{name}{own}"] = values
    return kept


def count(items: Sequence[Item], label: int) -> int:
    """How many items have that label."""
    return sum(item.label == label for item in items)


def counts(table: ItemTable, split: Split, seen: Sequence[Item]) -> Counts:
    """How many images there are in which part.

    Args:
        table: The category.
        split: Its parts.
        seen: The train items that the method was shown.
    """
    return Counts(
        images=len(table.items),
        train_normal=count(seen, NORMAL),
        train_anomalous=count(seen, ANOMALOUS),
        calibration=len(split.calibration),
        test=len(split.test),
        test_normal=objects(split.test, NORMAL),
        test_anomalous=objects(split.test, ANOMALOUS),
    )


def objects(items: Sequence[Item], label: int) -> int:
    """How many different objects have that label: many shots of one say no more than one."""
    return len({(item.group is None, item.group or item.path) for item in items if item.label == label})


def _items(category: str, table: pd.DataFrame) -> list[Item]:
    texts = table[["mask", "group"]].astype(object).where(table[["mask", "group"]].notna(), None)
    columns = (*(table[name].tolist() for name in ("path", "label", "defect")), texts["mask"], texts["group"])
    return [
        Item(path, category, int(label), defect, mask=mask, group=group)
        for path, label, defect, mask, group in zip(*columns, strict=True)
    ]


def _keys(job: Job, items: Sequence[Item]) -> list[str]:
    """What is resampled as one: an image, or all shots of one object."""
    names = [f"image {item.path}" if item.group is None else f"group {item.group}" for item in items]
    return [f"{job.dataset.name}/{job.category}/{name}" for name in names]


def _in_objects(items: Sequence[Item], metrics: Mapping[str, Any]) -> tuple[float, ...]:
    """The confusion matrix (tp, fn, fp, tn) in objects instead of shots."""
    tp, fn, fp, tn = (metrics[name] for name in ("tp", "fn", "fp", "tn"))
    bad, good = (objects(items, label) / max(1, count(items, label)) for label in (ANOMALOUS, NORMAL))
    return tp * bad, fn * bad, fp * good, tn * good


def _intervals(
    metrics: Mapping[str, Any], resamples: Arrays, confusion: tuple[float, ...]
) -> dict[str, tuple[float, float]]:
    found = {}
    tp, fn, fp, tn = confusion
    for name, values in resamples.items():
        if (estimate := metrics.get(name)) is not None:
            error = uncertainty.standard_error(estimate, values.astype(np.float64), tp + fn, fp + tn)
            found[name] = uncertainty.interval(estimate, error)
    found["balanced_accuracy"] = uncertainty.balanced_accuracy_interval(tp, fn, fp, tn)
    return {name: (low, high) for name, (low, high) in found.items() if not math.isnan(low + high)}


def _suspicions(checks: sanity.Sanity, auroc: float | None, items: Sequence[Item], job: Job) -> list[str]:
    fewest = min(objects(items, NORMAL), objects(items, ANOMALOUS))
    known = math.nan if auroc is None else auroc
    return sanity.remarks(checks, known, fewest=fewest, floor=job.method.name in FLOORS)


def _remarks(rule: Rule, known: pd.DataFrame) -> list[str]:
    remark = thresholds.unkept_promise(rule, int((known["label"] == NORMAL).sum()))
    return [remark] if remark else []


def _described(rule: Rule) -> str:
    values = ", ".join(f"{name}={value:g}" for name, value in parameters.values_of(rule).items())
    return f"{rule.name}({values})" if values else rule.name
