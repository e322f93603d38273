"""One job from images to outcome. The runner alone splits, seeds and times."""

import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench import localise, measure, predicting
from anomalybench.bench.environment import environment
from anomalybench.bench.item_table import ItemTable
from anomalybench.bench.measure import Scored
from anomalybench.bench.store import Outcome
from anomalybench.bench.visible import SkippedError, files, train_part, visible
from anomalybench.core import parameters, registry
from anomalybench.core.dataset import NORMAL, Item
from anomalybench.core.errors import AnomalyBenchError, described
from anomalybench.core.job import Job
from anomalybench.core.method import Context, Method
from anomalybench.core.model_card import ModelCard
from anomalybench.core.protocol import Split
from anomalybench.core.record import Costs, Explanation, MeasureOptions, Record
from anomalybench.deploy import bundle, cards
from anomalybench.deploy.bundle import Bundle
from anomalybench.evaluate import map_codes
from anomalybench.evaluate.map_codes import MapCodes
from anomalybench.vision import devices
from anomalybench.vision.images import bits_in_use, n_beyond

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Fit:
    """A fitted method, and what it gave for the calibration and test images.

    Attributes:
        method: The method.
        split: The parts of the category's items.
        seen: The train items that the method was shown.
        bits: Bits in use of 16-bit train images.
        scores: See `measure.score_table`.
        maps: Maps in the order of the scores.
        costs: What it took.
    """

    method: Method
    split: Split
    seen: Sequence[Item]
    bits: int
    scores: pd.DataFrame
    maps: MapCodes | None
    costs: Costs


def run_job(
    job: Job,
    table: ItemTable,
    options: MeasureOptions,
    device: str,
    progress: Progress,
    work: Path | None = None,
    features: Any = None,
    *,
    keep_model: bool = True,
) -> Outcome:
    """Run one job. Whatever goes wrong becomes part of the record, so that other jobs go on.

    Args:
        job: What to run.
        table: The items of the job's category.
        options: What to measure.
        device: Torch device name.
        progress: Called with (steps done, steps in all) while the method fits and predicts.
        work: Folder where methods keep what later jobs can take over.
        features: Where they keep what frozen layers gave.
        keep_model: Whether the outcome holds the fitted method.
    """
    start = time.perf_counter()
    context = Context(seed=job.seed, device=device, work=work, features=features, progress=progress)
    try:
        return _outcome(job, table, options, context, start, keep_model=keep_model)
    except SkippedError as reason:
        return Outcome(unfinished(job, table, device, str(reason), status="skipped"))
    except AnomalyBenchError as error:
        return Outcome(unfinished(job, table, device, str(error), bad_input=True))
    except Exception as error:  # a plugin may raise anything, and the other jobs must go on
        return Outcome(unfinished(job, table, device, described(error), traceback=traceback.format_exc()))


def unfinished(job: Job, table: ItemTable, device: str, reason: str, **values: Any) -> Record:
    """Record of a job that came to nothing: failed, unless `values` say otherwise."""
    facts = {"status": "failed", "error": reason, "root": str(table.root.resolve())} | values
    return Record(job=job, fingerprint=table.fingerprint, environment=environment(device), **facts)


def _outcome(
    job: Job, table: ItemTable, options: MeasureOptions, context: Context, start: float, *, keep_model: bool
) -> Outcome:
    fit = _fit(job, table, options, context)
    state = fit.method.state() if keep_model else None
    if state is not None and (trouble := bundle.unfit(state)):
        context.notes.append(f"the model is not kept: {trouble}")
        state = None
    maps = None if fit.maps is None else map_codes.decode(fit.maps)
    measured = measure.measure(Scored(job, table.root, fit.scores, maps), options.threshold)
    record = Record(
        job=job,
        status="ok",
        supervision=fit.method.supervision(),
        root=str(table.root.resolve()),
        fingerprint=table.fingerprint,
        bits=fit.bits,
        counts=measure.counts(table, fit.split, fit.seen),
        costs=fit.costs.model_copy(update={"total_s": round(time.perf_counter() - start, 3)}),
        leaks=(same := leaks(fit.split, table.hashes)),
        notes=(*context.notes, *_remarks(table, fit, same)),
        environment=environment(context.device),
        map_size=None if fit.maps is None else fit.maps.codes.shape[1:],
        measurements=(measured.measurement,),
        explanation=explanation(fit.method, table, fit.split, maps, options.explain, fit.bits),
    )
    model = None if state is None else Bundle(_card(record, table, fit, maps), state)
    return Outcome(record, fit.scores, fit.maps, measured.resamples, model)


def _card(record: Record, table: ItemTable, fit: _Fit, maps: NDArray[np.float32] | None) -> ModelCard:
    normal = [item for item in fit.split.calibration if item.label == NORMAL]
    return cards.make(record, fit.method, cards.Seen(fit.scores, maps, files(table, normal, fit.bits)))


def explanation(
    method: Method,
    table: ItemTable,
    split: Split,
    maps: NDArray[np.float32] | None,
    most: int,
    bits: int,
) -> Explanation | None:
    """Insertion and deletion of a fitted method; None where they are not asked for, empty where there are no maps.

    Args:
        method: The fitted method.
        table: The items of its category.
        split: Their parts.
        maps: n x h x w, of calibration and test images.
        most: On how many defective test images.
        bits: Bits in use of 16-bit images.
    """
    if not most:
        return None
    if maps is None:
        return Explanation(images=most, metrics={})
    normal = files(table, [item for item in split.train if item.label == NORMAL], bits)
    test_maps = maps[len(split.calibration) :]
    return Explanation(
        images=most, metrics=localise.faithful(method, table.root, split.test, test_maps, most, normal, bits)
    )


def _fit(job: Job, table: ItemTable, options: MeasureOptions, context: Context) -> _Fit:
    method = parameters.build(registry.method(job.method.name), job.method.name, job.method.params)
    split = table.split(job)
    measure.check_test(job, split)
    measure.threshold_rule(options.threshold, job, [item.label for item in split.calibration])
    seen = visible(job, method, table, split)
    bits = bits_in_use([table.root / item.path for item in split.train])
    devices.reset_peak_memory(context.device)
    start = _spent(context)
    method.fit(train_part(method, table, seen, bits), context)
    fitted = _spent(context)
    shown = (*split.calibration, *split.test)
    prediction = predicting.predict(method, files(table, shown, bits), job.seed, context.progress)
    predicted = _spent(context)
    costs = Costs(
        fit_s=round(fitted - start + method.reused_s, 3),
        predict_ms_per_image=round(1000 * (predicted - fitted) / len(shown), 3),
        **predicting.latency(method, files(table, split.test, bits)),
        params_m=method.n_parameters / 1e6,
        peak_memory_mb=round(devices.peak_memory_mb(context.device), 1),
    )
    predicting.check_batches(method, files(table, shown, bits), prediction)
    if context.features is not None and context.features.trouble is not None:
        context.notes.append(context.features.trouble)
    maps = None if prediction.maps is None else map_codes.encode(prediction.maps.astype(np.float32))
    return _Fit(method, split, seen, bits, measure.score_table(split, prediction), maps, costs)


def _spent(context: Context) -> float:
    """A clock that counts what the feature store has saved as well: what the work would have cost without it."""
    return time.perf_counter() + (0.0 if context.features is None else float(context.features.saved_s))


def leaks(split: Split, hashes: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Paths of equal images that lie on different sides of the split."""
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for side in ("train", "calibration", "test"):
        for item in getattr(split, side):
            sides[hashes[item.path]][item.path] = side
    return tuple(sorted(tuple(sorted(paths)) for paths in sides.values() if len(set(paths.values())) > 1))


def _remarks(table: ItemTable, fit: _Fit, same: tuple[tuple[str, ...], ...]) -> list[str]:
    """What a reader should know of the images."""
    remarks = []
    if same:
        example = " = ".join(same[0])
        remarks.append(
            f"{len(same)} images lie on several sides of the split under different names (first: {example}): the "
            "numbers are too good. Remove the copies, or group them with --group-by; see `anomalybench data check`"
        )
    if table.skipped:
        names = ", ".join(list(table.skipped)[:5])
        remarks.append(f"{len(table.skipped)} files that cannot be read were left out: {names}")
    if fit.bits < 16:
        remarks.append(f"16-bit images use {fit.bits} bits in the train part: all are scaled by that range")
        tested = [table.root / item.path for item in (*fit.split.calibration, *fit.split.test)]
        if n := n_beyond(tested, fit.bits):
            remarks.append(f"{n} of {len(tested)} calibration and test images have brighter pixels than that, cut off")
    return remarks
