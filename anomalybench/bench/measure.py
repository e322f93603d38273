"""From raw scores and maps to an outcome: threshold, metrics, intervals, checks. Fitting has no part in it.

The runner and the reading of other tools' scores both end here, so that the same scores give the same numbers.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench import localise
from anomalybench.bench.store import Outcome
from anomalybench.bench.suite import Table
from anomalybench.core import parameters
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Item
from anomalybench.core.errors import DataError
from anomalybench.core.job import Counts, Job, Record
from anomalybench.core.method import Prediction
from anomalybench.core.split import Split
from anomalybench.evaluate import image_metrics, sanity, uncertainty
from anomalybench.evaluate.thresholds import RULES, NormalQuantile, Rule, Youden

Metrics = dict[str, int | float | None]


def check_test(job: Job, split: Split) -> None:
    """DataError if the test part lacks normal or anomalous images."""
    for label, kind in ((NORMAL, "normal"), (ANOMALOUS, "anomalous")):
        if not count(split.test, label):
            raise DataError(
                f"{job.dataset.name}/{job.category}: the test part holds no {kind} images, so nothing can be measured. "
                f"Add {kind} images, or take another protocol (kfold tests every image once)."
            )


def threshold_rule(job: Job, split: Split) -> Rule:
    """The job's rule, or the default one for what the calibration part holds; DataError if that is not enough."""
    normal, anomalous = count(split.calibration, NORMAL), count(split.calibration, ANOMALOUS)
    if job.threshold is None:
        chosen: Rule = Youden() if anomalous and normal else NormalQuantile()
    else:
        chosen = parameters.build(RULES[job.threshold.name], job.threshold.name, job.threshold.params)
    where = f"{job.dataset.name}/{job.category}: the calibration part of protocol {job.protocol.name}"
    if chosen.needs_anomalous and not anomalous:
        raise DataError(f"{where} holds no defects, which {chosen.name} needs. Take normal_quantile or fpr.")
    if chosen.name != "fixed" and not normal:
        raise DataError(f"{where} holds no normal images, which {chosen.name} needs. Take a greater calibration share.")
    return chosen


def measure(base: Record, table: Table, split: Split, rule: Rule, prediction: Prediction) -> Outcome:
    """Everything that scores and maps say.

    Args:
        base: The record so far; what is measured is added to a copy.
        table: The category's items.
        split: Its parts.
        rule: Fits the threshold on the calibration part.
        prediction: For the calibration images, then the test images, each in the order of the split.
    """
    scores = _score_table(split, prediction)
    maps = None if prediction.maps is None else prediction.maps.astype(np.float16)
    known, test = (scores[scores["split"] == part] for part in ("calibration", "test"))
    threshold = rule.fit(known["score"], known["label"])
    measured = image_metrics.measure(test["score"], test["label"], threshold)
    keys = _keys(base.job, split.test)
    weight = uncertainty.weights(keys)
    resamples = uncertainty.resample(test["score"], test["label"], threshold, weight)
    located = localise.Located()
    if maps is not None:
        called = (test["score"] > threshold).to_numpy()
        located = localise.measure(table.root, split.test, maps[-len(split.test) :], called, weight)
        resamples |= located.resamples
    checks = sanity.check(
        (known["score"], known["label"]), (test["score"], test["label"]), np.random.default_rng(base.job.seed)
    )
    leaks = _leaks(split, table.hashes)
    update = {
        "status": "ok",
        "threshold": threshold,
        "threshold_rule": _described(rule),
        "metrics": _known(asdict(measured)),
        "pixel_metrics": located.metrics,
        "accuracy_by_defect": image_metrics.accuracy_by_defect(
            test["score"], test["label"], list(test["defect"]), threshold
        ),
        "intervals": _intervals(
            _known(asdict(measured)) | located.metrics, resamples, _objects(split.test, keys, measured)
        ),
        "sanity": checks.as_dict(),
        "leaks": leaks,
        "notes": [*base.notes, *_said_of(leaks), *sanity.remarks(checks, measured.auroc)],
        "counts": Counts(images=len(table.items), calibration=len(split.calibration), test=len(split.test)),
    }
    return Outcome(base.model_copy(update=update), scores, maps, resamples)


def count(items: Sequence[Item], label: int) -> int:
    """How many items have that label."""
    return sum(item.label == label for item in items)


def _score_table(split: Split, prediction: Prediction) -> pd.DataFrame:
    rows = [("calibration", item) for item in split.calibration] + [("test", item) for item in split.test]
    return pd.DataFrame(
        {
            "path": [item.path for _, item in rows],
            "split": [part for part, _ in rows],
            "label": [item.label for _, item in rows],
            "defect": [item.defect for _, item in rows],
            "mask": [item.mask for _, item in rows],
            "score": prediction.scores.astype(np.float64),
        }
    )


def _keys(job: Job, items: Sequence[Item]) -> list[str]:
    """What is resampled as one: an image, or all shots of one object."""
    names = [f"image {item.path}" if item.group is None else f"group {item.group}" for item in items]
    return [f"{job.dataset.name}/{job.category}/{name}" for name in names]


def _objects(
    items: Sequence[Item], keys: Sequence[str], measured: image_metrics.ImageMetrics
) -> tuple[float, float, float, float]:
    """The confusion matrix (tp, fn, fp, tn) in objects instead of shots: many shots of one say no more than one."""
    tp, fn, fp, tn = measured.tp, measured.fn, measured.fp, measured.tn
    bad, good = (
        len({key for item, key in zip(items, keys, strict=True) if item.label == label}) / count(items, label)
        for label in (ANOMALOUS, NORMAL)
    )
    return tp * bad, fn * bad, fp * good, tn * good


def _intervals(
    metrics: Mapping[str, Any],
    resamples: Mapping[str, NDArray[np.float64]],
    confusion: tuple[float, float, float, float],
) -> dict[str, tuple[float, float]]:
    found = {}
    tp, fn, fp, tn = confusion
    for name, values in resamples.items():
        if (estimate := metrics.get(name)) is not None:
            found[name] = uncertainty.interval(estimate, uncertainty.standard_error(estimate, values, tp + fn, fp + tn))
    found["balanced_accuracy"] = uncertainty.balanced_accuracy_interval(*confusion)
    return {name: (low, high) for name, (low, high) in found.items() if not math.isnan(low + high)}


def _leaks(split: Split, hashes: dict[str, str]) -> list[list[str]]:
    """Paths of equal images that lie on different sides of the split."""
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for side in ("train", "calibration", "test"):
        for item in getattr(split, side):
            sides[hashes[item.path]][item.path] = side
    return sorted(sorted(paths) for paths in sides.values() if len(set(paths.values())) > 1)


def _said_of(leaks: list[list[str]]) -> list[str]:
    if not leaks:
        return []
    example = " = ".join(leaks[0])
    return [
        f"{len(leaks)} images lie on several sides of the split under different names (first: {example}): the numbers "
        "are too good. Remove the copies, or tie them together with --group-by; see `anomalybench data check`"
    ]


def _known(values: dict[str, Any]) -> Metrics:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _described(rule: Rule) -> str:
    values = ", ".join(f"{name}={value:g}" for name, value in parameters.values_of(rule).items())
    return f"{rule.name}({values})" if values else rule.name
