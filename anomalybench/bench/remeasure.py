"""Measuring a fit again, from what is stored: with another threshold rule, with newer formulas, or more of it."""

from typing import Any

from anomalybench.bench import measure, runner
from anomalybench.bench.item_table import ItemTable
from anomalybench.bench.measure import Scored
from anomalybench.bench.store import Store
from anomalybench.core import parameters, registry
from anomalybench.core.errors import StoreError
from anomalybench.core.job import EXTERNAL
from anomalybench.core.method import Context
from anomalybench.core.record import Explanation, MeasureOptions, Record, rule_name
from anomalybench.evaluate import map_codes


def remeasure(record: Record, table: ItemTable, options: MeasureOptions, store: Store, device: str) -> Record:
    """Measure what is asked for and not known yet, and everything that older formulas have measured.

    Args:
        record: Of a job that went well.
        table: The items of its category, with the record's fingerprint.
        options: What is asked for.
        store: Where scores, maps and the fitted state lie.
        device: Torch device name, for insertion and deletion.

    Raises:
        DataError: Images or masks cannot be read, or calibration is not enough for the threshold rule.
        StoreError: Scores, maps or state are damaged; or the state, which insertion and deletion need, was not kept.
    """
    coded = store.maps(record)
    maps = None if coded is None else map_codes.decode(coded)
    scored = Scored(record.job, table.root, store.scores(record), maps)
    choices = {m.name: m.choice for m in record.measurements}
    current = {m.name: m for m in record.measurements if m.version == measure.MEASURE_VERSION}
    asked = rule_name(options.threshold)
    choices.setdefault(asked, options.threshold)
    resamples = store.resamples(record) if current else {}
    for name, choice in sorted(choices.items(), key=lambda one: one[0] != "default"):
        if name not in current:
            measured = measure.measure(scored, choice)
            current[name] = measured.measurement
            resamples = measure.named(measured, resamples)
    update: dict[str, Any] = {"measurements": tuple(current[name] for name in choices)}
    if _explains_more(record, options):
        update["explanation"] = _explanation(record, table, scored, options.explain, store, device)
    return store.measured(record.model_copy(update=update), resamples)


def _explains_more(record: Record, options: MeasureOptions) -> bool:
    return options.explain > (0 if record.explanation is None else record.explanation.images)


def _explanation(
    record: Record, table: ItemTable, scored: Scored, most: int, store: Store, device: str
) -> Explanation | None:
    job = record.job
    if scored.maps is None or job.method.name.startswith(EXTERNAL):
        return Explanation(images=most, metrics={})
    state = store.state(record)
    method = parameters.build(registry.method(job.method.name), job.method.name, job.method.params)
    if not state and method.supervision() != "nothing":
        raise StoreError(f"{job}: its fitted state was not kept, which --explain needs. Fit it again: --force.")
    method.restore(state, Context(seed=job.seed, device=device))
    return runner.explanation(method, table, table.split(job), scored.maps, most, record.bits)
