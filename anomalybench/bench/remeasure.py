"""Measuring a fit again, from what is stored: with another threshold rule, with newer formulas, or more of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalybench.bench import measure, runner
from anomalybench.bench.item_table import ItemTable
from anomalybench.bench.measure import Scored
from anomalybench.bench.recorded_images import RecordedImages
from anomalybench.bench.store import Store
from anomalybench.core import parameters, registry
from anomalybench.core.errors import StoreError
from anomalybench.core.job import EXTERNAL, Choice
from anomalybench.core.method import Context
from anomalybench.core.record import MEASURE_VERSION, Explanation, MeasureOptions, Record, rule_name
from anomalybench.evaluate import map_codes


def remeasure(
    record: Record,
    root: Path,
    store: Store,
    choices: Mapping[str, Choice | None],
    explanation: Explanation | None = None,
    *,
    again: bool = False,
) -> Record:
    """Measure with these threshold rules what was not, and everything that older formulas have measured.

    Args:
        record: Of a job that went well.
        root: Where its images and masks are.
        store: Where its scores and maps lie.
        choices: Threshold rules by the names of measurements.
        explanation: Insertion and deletion, in place of the record's.
        again: Measure everything again.

    Raises:
        DataError: Masks cannot be read, or calibration is not enough for a threshold rule.
        StoreError: Scores or maps are damaged, the result cannot be written, or another process has fitted it anew.
    """
    coded = store.maps(record)
    scored = Scored(record.job, root, store.scores(record), None if coded is None else map_codes.decode(coded))
    current = {m.name: m for m in record.measurements if m.version == MEASURE_VERSION and not again}
    resamples: measure.Arrays = dict(store.resamples(record)) if current else {}
    wanted = {m.name: m.choice for m in record.measurements} | dict(choices)
    for name, choice in sorted(wanted.items(), key=lambda one: one[0] != "default"):
        if name not in current:
            measured = measure.measure(scored, choice)
            current[name] = measured.measurement
            resamples = measure.named(measured, resamples)
    update: dict[str, Any] = {"measurements": tuple(current[name] for name in wanted)}
    if explanation is not None:
        update["explanation"] = explanation
    now = store.get(record.job, record.fingerprint)
    if now == record:
        return store.measured(record.model_copy(update=update), resamples)
    # Another process has measured or fitted it meanwhile: what it has left must not be lost.
    if now is None or explanation is not None:
        raise StoreError(f"{record.job}: another process has changed its result meanwhile. Start the command again.")
    return remeasure(now, root, store, choices, again=again)


class Images:
    """Where the images of records are, each data set looked at once.

    Args:
        data: Folder of the data; None for the folders of the runs.
    """

    def __init__(self, data: Path | None) -> None:
        self._images = RecordedImages(data)

    def root(self, record: Record) -> Path:
        """What the record's paths are relative to, with the images that it was made from where masks are needed.

        Raises:
            DataError: The images are gone.
            StoreError: They are others than those of the run.
        """
        return Path(record.root) if record.map_size is None else self._images.table(record).root


def complete(record: Record, table: ItemTable, options: MeasureOptions, store: Store, device: str) -> Record:
    """`remeasure` with all that is asked for; insertion and deletion by the model.

    Raises:
        DataError: Images or masks cannot be read, or calibration is not enough for the threshold rule.
        StoreError: What is stored is damaged, or the model was not kept.
    """
    explained = 0 if record.explanation is None else record.explanation.images
    more = explain(record, table, options.explain, store, device) if options.explain > explained else None
    return remeasure(record, table.root, store, {rule_name(options.threshold): options.threshold}, more)


def explain(record: Record, table: ItemTable, most: int, store: Store, device: str) -> Explanation:
    """Insertion and deletion on up to so many images, by the method as it was fitted."""
    job, coded = record.job, store.maps(record)
    if coded is None or job.method.name.startswith(EXTERNAL):
        return Explanation(images=most, metrics={})
    kept = store.model(record)
    if kept is None:
        raise StoreError(f"{job}: its model was not kept, which --explain needs. Fit it again: --force.")
    method = parameters.build(registry.method(job.method.name), job.method.name, job.method.params)
    method.restore(kept.state, Context(seed=job.seed, device=device))
    maps = map_codes.decode(coded)
    found = runner.explanation(method, table, table.split(job), maps, most, record.bits)
    return found or Explanation(images=most, metrics={})
