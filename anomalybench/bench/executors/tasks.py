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
from pathlib import Path

from anomalybench.bench.executors import watchdog
from anomalybench.bench.runner import failed, run_job
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Outcome, Store
from anomalybench.bench.suite import Table, load_table
from anomalybench.core import registry
from anomalybench.core.errors import AnomalyBenchError, DataError, UsageError
from anomalybench.core.job import EXTERNAL, Choice, Job, Record
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
    """A job to be run.

    Attributes:
        job: The job.
        fingerprint: Of the data it is to be run on.
        earlier: The job's record that does not hold any more, if there is one.
        package: Version of anomalybench that planned it.
    """

    job: Job
    fingerprint: str
    earlier: Record | None = None
    package: str = VERSION


@dataclass(frozen=True)
class Finished:
    """A job and its record.

    Attributes:
        job: The job.
        record: What it left.
        reused: The record was in the store already.
    """

    job: Job
    record: Record
    reused: bool


@dataclass(frozen=True)
class Plan:
    """Which jobs of a list are done, and the data of all of them.

    Attributes:
        jobs: All jobs.
        done: Records in the store that still hold: not failed, and made from the same data.
        tasks: The other jobs.
        tables: Items by dataset and category: see `key`.
        data: Folder of the data.
    """

    jobs: Sequence[Job]
    done: dict[str, Record]
    tasks: Sequence[Task]
    tables: dict[tuple[str, str], Table]
    data: Path | None

    def table(self, job: Job) -> Table:
        """The items of the job's category."""
        return self.tables[key(job)]


def key(job: Job) -> tuple[str, str]:
    """What jobs on the same images have in common."""
    return job.dataset.model_dump_json(), job.category


def work(
    task: Task,
    table: Table,
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
    with devices.lent(settings.device) as device:
        if finished := look_up(task, store):
            return finished

        def late() -> Outcome:
            return Outcome(failed(task.job, table, device, f"took longer than --timeout {settings.timeout} s"))

        def stuck() -> None:
            try:
                store.put(late())
            finally:
                os._exit(1)

        job = partial(run_job, task.job, table, device, progress, folder, features)
        try:
            outcome = watchdog.limited(job, settings.timeout, stuck if own_process else None)
        except watchdog.TimeLimitError:
            outcome = late()
    store.check_there()
    return Finished(task.job, store.put(outcome), reused=False)


def work_apart(task: Task, data: Path | None, store: Store, settings: Settings) -> Finished:
    """As `work`, in a process that did not plan the run: the same code and data must be here as where it was planned.

    Raises:
        MachineError: The data are not here, or are others; or the package or the method is of another version.
        StoreError: The outcome cannot be kept.
    """
    try:
        _check_code(task)
        dataset = task.job.dataset.model_dump_json()
        table = _table(dataset, task.job.category, data, task.fingerprint)
    except (DataError, UsageError) as error:
        raise MachineError(f"{socket.gethostname()}: {error}") from None
    return work(task, table, store, settings, own_process=True)


def look_up(task: Task, store: Store) -> Finished | None:
    """What another process has left of a task since it was planned."""
    record = store.get(task.job)
    if record is None or record == task.earlier or record.fingerprint != task.fingerprint:
        return None
    return Finished(task.job, record, reused=True)


def lost(task: Task, reason: str, store: Store) -> Finished:
    """Keep why a task has no outcome."""
    record = Record(job=task.job, status="failed", error=reason, fingerprint=task.fingerprint)
    return Finished(task.job, store.put(Outcome(record)), reused=False)


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
def _table(dataset: str, category: str, data: Path | None, fingerprint: str) -> Table:
    table = load_table(Choice.model_validate_json(dataset), category, data)
    if table.fingerprint != fingerprint:
        raise DataError(f"{category} in {table.root} is not what the run was planned with. Give all machines the same.")
    return table
