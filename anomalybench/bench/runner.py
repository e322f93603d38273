"""One job from images to outcome. The runner alone splits, seeds, times and measures: fairness lives in this file."""

import platform
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.bench import localise, measure
from anomalybench.bench.store import Outcome
from anomalybench.bench.suite import Table
from anomalybench.core import parameters, places, registry
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Item
from anomalybench.core.errors import AnomalyBenchError, DataError
from anomalybench.core.job import Costs, Job, Record
from anomalybench.core.method import Context, Images, Method, Prediction, Train
from anomalybench.core.split import Split
from anomalybench.vision import devices
from anomalybench.vision.features import FeatureStore
from anomalybench.vision.images import ImageFiles, batches, read_mask

Progress = Callable[[int, int], None]
_BATCH = 32
_PACKAGES = ("anomalybench-vision", "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "pillow")


class _SkippedError(Exception):
    """The method's supervision and the protocol do not go together."""


def run_job(
    job: Job,
    table: Table,
    device: str,
    progress: Progress,
    work: Path | None = None,
    features: FeatureStore | None = None,
) -> Outcome:
    """Run one job. Whatever goes wrong becomes part of the record, so that other jobs go on.

    Args:
        job: What to run.
        table: The items of the job's category.
        device: Torch device name.
        progress: Called with (steps done, steps in all) while the method fits and predicts.
        work: Folder where methods keep what later jobs can take over.
        features: Where they keep what frozen layers gave.
    """
    start = time.perf_counter()
    base = failed(job, table, device)
    try:
        context = Context(seed=job.seed, device=device, work=work, features=features, progress=progress)
        outcome = _measure(base, table, context)
    except _SkippedError as reason:
        outcome = Outcome(base.model_copy(update={"status": "skipped", "error": str(reason)}))
    except AnomalyBenchError as error:
        outcome = Outcome(base.model_copy(update={"error": str(error), "bad_input": True}))
    except Exception as error:  # a plugin may raise anything, and the other jobs must go on
        update = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        outcome = Outcome(base.model_copy(update=update))
    costs = outcome.record.costs.model_copy(update={"total_s": round(time.perf_counter() - start, 3)})
    return replace(outcome, record=outcome.record.model_copy(update={"costs": costs}))


def failed(job: Job, table: Table, device: str, reason: str | None = None) -> Record:
    """Record of a job that has not come to an end."""
    return Record(
        job=job,
        status="failed",
        error=reason,
        fingerprint=table.fingerprint,
        root=str(table.root.resolve()),
        environment=environment(device),
    )


def environment(device: str) -> dict[str, str]:
    """What a result depends on, from versions to the machine, and the command and time it came from."""
    packages = {name: version(name) for name in _PACKAGES}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "machine": devices.machine(device),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **packages,
        **_commit(),
    }


@cache
def _commit() -> dict[str, str]:
    """The checkout's commit, with a + where files differ from it; empty without a checkout or git."""
    root = places.checkout()
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True) if root else None
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git": found.stdout.strip()} if found else {}


def _measure(base: Record, table: Table, context: Context) -> Outcome:
    job = base.job
    method = parameters.build(registry.method(job.method.name), job.method.name, job.method.params)
    split = table.split(job)
    measure.check_test(job, split)
    seen = _visible(job, method, split)
    rule = measure.threshold_rule(job, split)
    devices.reset_peak_memory(context.device)
    start = _spent(context)
    method.fit(_train(method, table, seen), context)
    fitted = _spent(context)
    shown = (*split.calibration, *split.test)
    prediction = _predict(method, _files(table, shown), context.progress)
    predicted = _spent(context)
    if context.features is not None and context.features.trouble is not None:
        context.notes.append(context.features.trouble)
    base = base.model_copy(update={"notes": context.notes})
    outcome = measure.measure(base, table, split, rule, prediction)
    if outcome.maps is not None:
        test_maps = outcome.maps[-len(split.test) :]
        faithful = localise.faithful(method, table.root, split.test, test_maps, job.explain)
        outcome.record.pixel_metrics.update(faithful)
    update = {
        "supervision": method.learns_from,
        "counts": outcome.record.counts.model_copy(
            update={
                "train_normal": measure.count(seen, NORMAL),
                "train_anomalous": measure.count(seen, ANOMALOUS),
            }
        ),
        "costs": Costs(
            fit_s=round(fitted - start + method.reused_s, 3),
            predict_ms_per_image=round(1000 * (predicted - fitted) / len(shown), 3),
            params_m=method.n_parameters / 1e6,
            peak_memory_mb=round(devices.peak_memory_mb(context.device), 1),
        ),
    }
    return replace(outcome, record=outcome.record.model_copy(update=update))


def _visible(job: Job, method: Method, split: Split) -> Sequence[Item]:
    """The train items that the method's supervision allows it to see."""
    if method.learns_from == "nothing":
        return ()
    if method.learns_from == "normals":
        return [item for item in split.train if item.label == NORMAL]
    if not measure.count(split.train, ANOMALOUS):
        reason = f"{job.method.name} learns from {method.learns_from}, but the train part has no anomalous images"
        if job.protocol.name == "standard":
            raise _SkippedError(f"{reason} under protocol standard")
        raise DataError(f"{job.dataset.name}/{job.category}: {reason}. Add some, or take a method that needs none.")
    return split.train


def _spent(context: Context) -> float:
    """A clock that counts what the feature store has saved as well: what the work would have cost without it."""
    return time.perf_counter() + (0.0 if context.features is None else float(context.features.saved_s))


def _files(table: Table, items: Sequence[Item]) -> ImageFiles:
    return ImageFiles([table.root / item.path for item in items], [table.hashes[item.path] for item in items])


def _train(method: Method, table: Table, seen: Sequence[Item]) -> Train:
    images = _files(table, seen)
    if method.learns_from not in ("labels", "masks"):
        return Train(images)
    labels = np.array([item.label for item in seen], np.int64)
    if method.learns_from == "labels":
        return Train(images, labels)
    return Train(images, labels, [None if item.mask is None else read_mask(table.root / item.mask) for item in seen])


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
