"""One job from images to outcome. The runner alone splits, seeds, times and measures: fairness lives in this file."""

import math
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench import localise
from anomalybench.bench.store import Outcome
from anomalybench.bench.suite import Table
from anomalybench.core import parameters, registry
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Item
from anomalybench.core.errors import AnomalyBenchError, DataError
from anomalybench.core.job import Costs, Counts, Job, Record
from anomalybench.core.method import Context, Images, Method, Prediction, Train
from anomalybench.core.split import PROTOCOLS, Split
from anomalybench.evaluate import image_metrics
from anomalybench.evaluate.thresholds import RULES, NormalQuantile, Rule, Youden
from anomalybench.vision import devices
from anomalybench.vision.images import ImageFiles, batches, read_mask

Progress = Callable[[int, int], None]
_BATCH = 32
_DISTRIBUTION = "anomalybench-vision"


class _SkippedError(Exception):
    """The method's supervision and the protocol do not go together."""


def run_job(job: Job, table: Table, device: str, progress: Progress, work: Path | None = None) -> Outcome:
    """Run one job. Whatever goes wrong becomes part of the record, so that other jobs go on.

    Args:
        job: What to run.
        table: The items of the job's category.
        device: Torch device name.
        progress: Called with (steps done, steps in all) while the method fits and predicts.
        work: Folder where methods keep what later jobs can take over.
    """
    start = time.perf_counter()
    base = Record(
        job=job,
        status="failed",
        fingerprint=table.fingerprint,
        root=str(table.root.resolve()),
        environment=environment(device),
    )
    try:
        outcome = _measure(base, table, Context(seed=job.seed, device=device, work=work, progress=progress))
    except _SkippedError as reason:
        outcome = Outcome(base.model_copy(update={"status": "skipped", "error": str(reason)}))
    except AnomalyBenchError as error:
        outcome = Outcome(base.model_copy(update={"error": str(error), "bad_input": True}))
    except Exception as error:  # a plugin may raise anything, and the other jobs must go on
        update = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        outcome = Outcome(base.model_copy(update=update))
    costs = outcome.record.costs.model_copy(update={"total_s": round(time.perf_counter() - start, 3)})
    return Outcome(outcome.record.model_copy(update={"costs": costs}), outcome.scores, outcome.maps)


def environment(device: str) -> dict[str, str]:
    """Versions, platform and device that a result depends on."""
    packages = {name: version(name) for name in (_DISTRIBUTION, "torch", "torchvision", "timm", "numpy")}
    return {"python": platform.python_version(), "platform": platform.platform(), "device": device, **packages}


def _measure(base: Record, table: Table, context: Context) -> Outcome:
    job = base.job
    method = parameters.build(registry.method(job.method.name), job.method.name, job.method.params)
    protocol = parameters.build(PROTOCOLS[job.protocol.name], job.protocol.name, job.protocol.params)
    split = protocol.split(table.items, job.seed, job.fold)
    _check_test(job, split)
    seen = _visible(job, method, split)
    rule = _rule(job, split)
    devices.reset_peak_memory(context.device)
    start = time.perf_counter()
    method.fit(_train(method, table.root, seen), context)
    fitted = time.perf_counter()
    shown = (*split.calibration, *split.test)
    prediction = _predict(method, ImageFiles([table.root / item.path for item in shown]), context.progress)
    predicted = time.perf_counter()
    scores, maps = _score_table(split, prediction), _half(prediction.maps)
    threshold, metrics, by_defect = _evaluate(rule, scores)
    called = (scores["score"] > threshold).to_numpy()[-len(split.test) :]
    located = _locate(job, method, table.root, split, maps, called)
    record = base.model_copy(
        update={
            "status": "ok",
            "supervision": method.learns_from,
            "threshold": threshold,
            "threshold_rule": _described(rule),
            "metrics": metrics,
            "pixel_metrics": located,
            "accuracy_by_defect": by_defect,
            "counts": _counts(seen, split),
            "costs": Costs(
                fit_s=round(fitted - start + method.reused_s, 3),
                predict_ms_per_image=round(1000 * (predicted - fitted) / len(shown), 3),
                params_m=method.n_parameters / 1e6,
                peak_memory_mb=round(devices.peak_memory_mb(context.device), 1),
            ),
        }
    )
    return Outcome(record, scores, maps)


def _check_test(job: Job, split: Split) -> None:
    for label, kind in ((NORMAL, "normal"), (ANOMALOUS, "anomalous")):
        if not _count(split.test, label):
            raise DataError(
                f"{job.dataset.name}/{job.category}: the test part holds no {kind} images, so nothing can be measured. "
                f"Add {kind} images, or take another protocol (kfold tests every image once)."
            )


def _visible(job: Job, method: Method, split: Split) -> Sequence[Item]:
    """The train items that the method's supervision allows it to see."""
    if method.learns_from == "nothing":
        return ()
    if method.learns_from == "normals":
        return [item for item in split.train if item.label == NORMAL]
    if not _count(split.train, ANOMALOUS):
        reason = f"{job.method.name} learns from {method.learns_from}, but the train part has no anomalous images"
        if job.protocol.name == "standard":
            raise _SkippedError(f"{reason} under protocol standard")
        raise DataError(f"{job.dataset.name}/{job.category}: {reason}. Add some, or take a method that needs none.")
    return split.train


def _train(method: Method, root: Path, seen: Sequence[Item]) -> Train:
    images = ImageFiles([root / item.path for item in seen])
    if method.learns_from not in ("labels", "masks"):
        return Train(images)
    labels = np.array([item.label for item in seen], np.int64)
    if method.learns_from == "labels":
        return Train(images, labels)
    return Train(images, labels, [None if item.mask is None else read_mask(root / item.mask) for item in seen])


def _rule(job: Job, split: Split) -> Rule:
    normal, anomalous = _count(split.calibration, NORMAL), _count(split.calibration, ANOMALOUS)
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


def _predict(method: Method, images: Images, progress: Progress) -> Prediction:
    scores: list[NDArray[Any]] = []
    maps: list[NDArray[Any]] = []
    for done, batch in enumerate(batches(images, _BATCH)):
        part = method.predict(batch)
        _check_prediction(part, len(batch))
        scores.append(part.scores)
        if part.maps is not None:
            maps.append(part.maps)
        progress(min((done + 1) * _BATCH, len(images)), len(images))
    return Prediction(np.concatenate(scores), np.concatenate(maps) if maps else None)


def _check_prediction(part: Prediction, n: int) -> None:
    if part.scores.shape != (n,):
        raise ValueError(f"predict returned scores of shape {part.scores.shape} for {n} images; it must be ({n},)")
    if not np.isfinite(part.scores).all():
        raise ValueError(f"{int((~np.isfinite(part.scores)).sum())} of {n} scores are NaN or infinite")
    if part.maps is None:
        return
    if part.maps.ndim != 3 or part.maps.shape[0] != n:
        raise ValueError(f"predict returned maps of shape {part.maps.shape} for {n} images")
    if not (np.abs(part.maps) <= np.finfo(np.float16).max).all():
        raise ValueError("a map holds NaN or values beyond 65504, the greatest that is stored; scale the maps")


def _half(maps: NDArray[Any] | None) -> NDArray[np.float16] | None:
    return None if maps is None else maps.astype(np.float16)


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


def _evaluate(rule: Rule, scores: pd.DataFrame) -> tuple[float, dict[str, int | float | None], dict[str, float]]:
    calibration, test = (scores[scores["split"] == part] for part in ("calibration", "test"))
    threshold = rule.fit(calibration["score"], calibration["label"])
    measured = asdict(image_metrics.measure(test["score"], test["label"], threshold))
    metrics: dict[str, int | float | None] = {
        name: None if math.isnan(value) else value for name, value in measured.items()
    }
    by_defect = image_metrics.accuracy_by_defect(test["score"], test["label"], list(test["defect"]), threshold)
    return threshold, metrics, by_defect


def _locate(
    job: Job, method: Method, root: Path, split: Split, maps: NDArray[np.float16] | None, called: NDArray[np.bool_]
) -> dict[str, int | float | None]:
    if maps is None:
        return {}
    test = maps[-len(split.test) :]
    located = localise.measure(root, split.test, test, called)
    return located | localise.faithful(method, root, split.test, test, job.explain)


def _described(rule: Rule) -> str:
    values = ", ".join(f"{name}={value:g}" for name, value in parameters.values_of(rule).items())
    return f"{rule.name}({values})" if values else rule.name


def _counts(seen: Sequence[Item], split: Split) -> Counts:
    return Counts(
        train_normal=_count(seen, NORMAL),
        train_anomalous=_count(seen, ANOMALOUS),
        calibration=len(split.calibration),
        test=len(split.test),
    )


def _count(items: Sequence[Item], label: int) -> int:
    return sum(item.label == label for item in items)
