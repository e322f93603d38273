"""What all executors share: tasks in, finished jobs out.

Whatever the executor, a job runs through `work`, in a process that writes into the results folder itself: a finished
job outlives the process that asked for it.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version

from anomalybench.bench.executors import watchdog
from anomalybench.bench.item_table import ItemTable, ItemTables, Source
from anomalybench.bench.remeasure import complete
from anomalybench.bench.runner import run_job, unfinished
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Outcome, Store
from anomalybench.core import registry
from anomalybench.core.errors import AnomalyBenchError, DataError, UsageError, described
from anomalybench.core.job import EXTERNAL, Choice, Job
from anomalybench.core.record import Measurement, MeasureOptions, Record, rule_name
from anomalybench.vision import devices
from anomalybench.vision.features import FeatureStore

RETRIES = 2
"""How often a job is run again whose process has died."""
VERSION = version("anomalybench-vision")
"""Of the package; its `__version__` is above this file."""
Progress = Callable[[Job, int, int], None]
"""Called with (job, steps done, steps in all)."""


class MachineError(AnomalyBenchError):
    """This machine cannot run a job that another one may be able to run."""


@dataclass(frozen=True)
class Task:
    """A job to be run, or only to be measured where its fit is there already.

    Attributes:
        job: The job.
        options: What to measure.
        fingerprint: Of the images it is to be run on.
        force: Fit it whatever there is, unless it is newer than `earlier`.
        earlier: The job's record when the run was planned, if there was one.
        package: Version of anomalybench that planned it.
    """

    job: Job
    options: MeasureOptions
    fingerprint: str
    force: bool = False
    earlier: Record | None = None
    package: str = VERSION

    def finished(self, record: Record, *, reused: bool, measured: bool = False) -> "Finished":
        """The task with what it left."""
        return Finished(self.job, record, reused, measured, rule_name(self.options.threshold))


@dataclass(frozen=True)
class Finished:
    """A job and its record.

    Attributes:
        job: The job.
        record: What it left.
        reused: Its fit was in the store already.
        measured: Only measuring was left to do.
        rule: Name of the measurement that was asked for.
    """

    job: Job
    record: Record
    reused: bool
    measured: bool = False
    rule: str = "default"

    @property
    def measurement(self) -> Measurement | None:
        """What was asked for; None where the job came to nothing."""
        return next((one for one in self.record.measurements if one.name == self.rule), None)

    def __str__(self) -> str:
        """One line: the result's id, the job, how it ended, and its ROC AUC and balanced accuracy."""
        metrics = {} if self.measurement is None else self.measurement.metrics
        auroc, balanced = metrics.get("auroc"), metrics.get("balanced_accuracy")
        known = auroc is not None and balanced is not None
        numbers = f"auroc {auroc:.3f}, balanced accuracy {balanced:.3f}" if known else self.record.error or ""
        total = self.record.costs.total_s
        took = "" if total is None else f" in {total:.1f} s"
        before = "measured" if self.measured else "done before"
        state = before if self.reused and self.record.status == "ok" else self.record.status + took
        return f"{self.job.id[:8]} {self.job}: {state} {numbers}".rstrip()


@dataclass(frozen=True)
class Plan:
    """Which jobs of a list are done, and the images of all of them.

    Attributes:
        jobs: All jobs.
        done: Records in the store that still hold, with everything measured that is asked for, by job id.
        tasks: The other jobs.
        tables: Items by dataset and category.
        options: What to measure on each.
    """

    jobs: Sequence[Job]
    done: dict[str, Record]
    tasks: Sequence[Task]
    tables: ItemTables
    options: MeasureOptions

    def table(self, job: Job) -> ItemTable:
        """The items of the job's category."""
        return self.tables.get(job.dataset, job.category)

    @property
    def n_fits(self) -> int:
        """How many tasks have to fit."""
        return sum(not fitted(task, task.earlier) for task in self.tasks)


def work(
    task: Task,
    table: ItemTable,
    store: Store,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda *_: None,
    *,
    own_process: bool = False,
) -> Finished:
    """Run one job, unless another run has finished it by now, and keep what it leaves.

    Args:
        task: What to run.
        table: The items of the job's category.
        store: Where results go.
        settings: How.
        progress: Called with (steps done, steps in all) while the method fits and predicts.
        own_process: The process may be ended if the job does not stop at its time limit.

    Raises:
        StoreError: The outcome cannot be kept.
    """
    store.check_there()
    folder = store.results / "work"
    features = FeatureStore(folder / "features", int(settings.feature_gb * 1e9)) if settings.feature_gb else None
    with devices.reserved(settings.device) as device:
        if finished := look_up(task, store):
            return finished

        record = store.get(task.job, task.fingerprint)
        if record is not None and fitted(task, record):
            measured = _measured(record, table, task, store, device)
            return task.finished(measured, reused=True, measured=True)

        def late() -> Outcome:
            return Outcome(unfinished(task.job, table, device, f"took longer than --timeout {settings.timeout} s"))

        def stuck() -> None:
            try:
                store.put(late())
            finally:
                os._exit(1)

        job = partial(
            run_job, task.job, table, task.options, device, progress, folder, features, keep_model=settings.keep_models
        )
        try:
            outcome = watchdog.limited(job, settings.timeout, stuck if own_process else None)
        except watchdog.TimeLimitError:
            outcome = late()
    store.check_there()
    return task.finished(store.put(outcome), reused=False)


def work_apart(task: Task, source: Source, store: Store, settings: Settings) -> Finished:
    """As `work`, in a process that did not plan the run: the same code and data must be here as where it was planned.

    Raises:
        MachineError: The data are not here, or are others; or the package or the method is of another version.
        StoreError: The outcome cannot be kept.
    """
    try:
        _check_code(task)
        table = _table(task.job.dataset.model_dump_json(), task.job.category, source, task.fingerprint)
    except (DataError, UsageError) as error:
        raise MachineError(f"{socket.gethostname()}: {error}") from None
    return work(task, table, store, settings, own_process=True)


def _measured(record: Record, table: ItemTable, task: Task, store: Store, device: str) -> Record:
    """What is asked for, measured on what is stored; why not, where it cannot be: the stored result stays as it is."""
    try:
        return complete(record, table, task.options, store, device)
    except Exception as error:  # a plugin may raise anything, and the other jobs must go on
        bad_input = isinstance(error, AnomalyBenchError)
        return unfinished(task.job, table, device, described(error), bad_input=bad_input)


def fitted(task: Task, record: Record | None) -> bool:
    """Whether a record of the task's images makes a fit unnecessary."""
    again = task.force and record == task.earlier
    return record is not None and not again and record.fingerprint == task.fingerprint and record.holds(task.job)


def look_up(task: Task, store: Store) -> Finished | None:
    """What another process has left of a task since it was planned, if nothing is to be measured any more."""
    record = store.get(task.job, task.fingerprint)
    if record is None or record == task.earlier:
        return None
    failed = record.status == "failed"
    if failed or (fitted(task, record) and record.measured(task.options)):
        return task.finished(record, reused=True)
    return None


def lost(task: Task, reason: str, store: Store) -> Finished:
    """Keep why a task has no outcome."""
    record = Record(job=task.job, status="failed", error=reason, fingerprint=task.fingerprint)
    return task.finished(store.put(Outcome(record)), reused=False)


def _check_code(task: Task) -> None:
    """Fail where a job would be run by other code than its record says."""
    if task.package != VERSION:
        raise UsageError(
            f"anomalybench {VERSION} is installed here, but the run was planned with {task.package}. Install the "
            f"same on all machines: pip install 'anomalybench-vision=={task.package}'"
        )
    name, planned = task.job.method.name, task.job.version
    if name.startswith(EXTERNAL) or (here := registry.method(name).version) == planned:
        return
    raise UsageError(
        f"method '{name}' has version {here} here, but the run was planned with version {planned}. Give all machines "
        "the same file, restart their workers, and start the run again."
    )


@lru_cache(maxsize=16)
def _table(dataset: str, category: str, source: Source, fingerprint: str) -> ItemTable:
    table = ItemTables(source).get(Choice.model_validate_json(dataset), category)
    if table.fingerprint != fingerprint:
        raise DataError(f"{category} in {table.root} is not what the run was planned with. Give all machines the same.")
    return table
