"""Executors: tasks in, finished jobs out as they end. What the store already has is not run again.

Whatever the executor, a job runs through `work`, in a process that writes into the results folder itself: a finished
job outlives the process that asked for it.
"""

import os
import socket
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from anomalybench.bench import watchdog
from anomalybench.bench.runner import failed, run_job
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Outcome, Store
from anomalybench.bench.suite import Table, load_table
from anomalybench.core.errors import AnomalyBenchError, DataError
from anomalybench.core.job import Choice, Job, Record
from anomalybench.vision import devices
from anomalybench.vision.features import FeatureStore

RETRIES = 2
"""How often a job is run again whose process has died."""
Progress = Callable[[Job, int, int], None]


@dataclass(frozen=True)
class Task:
    """A job to be run.

    Attributes:
        job: The job.
        fingerprint: Of the data it is to be run on.
        before: The record that does not hold any more, if there is one.
    """

    job: Job
    fingerprint: str
    before: Record | None = None


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
        tables: Items by dataset and category.
        data: Folder of the data.
    """

    jobs: Sequence[Job]
    done: dict[str, Record]
    tasks: Sequence[Task]
    tables: dict[tuple[str, str], Table]
    data: Path | None

    def table(self, job: Job) -> Table:
        """The items of the job's category."""
        return self.tables[_key(job)]


def plan(jobs: Sequence[Job], store: Store, data: Path | None, *, force: bool) -> Plan:
    """Read the item tables of all jobs, so that bad data are found before anything runs, and look up what is done.

    Args:
        jobs: The jobs.
        store: Where results lie.
        data: Folder of the data.
        force: Treat nothing as done.

    Raises:
        DataError: Data are missing or broken.
    """
    tables: dict[tuple[str, str], Table] = {}
    done: dict[str, Record] = {}
    tasks: list[Task] = []
    store.sweep(jobs)
    for job in jobs:
        if _key(job) not in tables:
            tables[_key(job)] = load_table(job.dataset, job.category, data)
        fingerprint, record = tables[_key(job)].fingerprint, store.get(job)
        if not force and record is not None and record.status != "failed" and record.fingerprint == fingerprint:
            done[job.id] = record
        else:
            tasks.append(Task(job, fingerprint, record))
    return Plan(jobs, done, tasks, tables, data)


def run(
    todo: Plan, store: Store, settings: Settings, progress: Progress = lambda *_: None
) -> Generator[Finished, None, None]:
    """Run what is not done, with the executor that the settings ask for; what is done comes first.

    Args:
        todo: From `plan`.
        store: Where results go.
        settings: How.
        progress: Called with (job, steps done, steps in all) by jobs of this process.

    Raises:
        StoreError: A result could not be kept; the run ends.
        UsageError: There is no such cluster.
        ClusterError: The cluster was lost.
    """
    yield from (Finished(job, todo.done[job.id], reused=True) for job in todo.jobs if job.id in todo.done)
    if not todo.tasks:
        return
    if settings.cluster is not None:
        from anomalybench.bench.cluster import dask

        yield from dask(todo, store, settings)
    elif settings.workers > 1:
        from anomalybench.bench.processes import processes

        yield from processes(todo, store, settings)
    else:
        for task in todo.tasks:
            yield work(task, todo.table(task.job), store, settings, partial(progress, task.job))


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
    """
    store.check_there()
    folder = store.results / "work"
    features = FeatureStore(folder / "features", int(settings.feature_gb * 1e9)) if settings.feature_gb else None
    with devices.lent(settings.device) as device:
        if found := look_up(task, store):
            return found

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
    """As `work`, in a process that has read no tables yet.

    Raises:
        DataError: The data are not to be seen from this machine, or are others.
    """
    try:
        table = _table(task.job.dataset.model_dump_json(), task.job.category, data, task.fingerprint)
    except DataError as error:
        raise DataError(f"{socket.gethostname()}: {error}") from None
    return work(task, table, store, settings, own_process=True)


def look_up(task: Task, store: Store) -> Finished | None:
    """What another process has left of a task since it was planned."""
    found = store.get(task.job)
    new = found is not None and found != task.before and found.fingerprint == task.fingerprint
    return Finished(task.job, found, reused=True) if found is not None and new else None


def lost(task: Task, reason: str, store: Store) -> Finished:
    """Keep why a task has no outcome."""
    record = Record(job=task.job, status="failed", error=reason, fingerprint=task.fingerprint)
    return Finished(task.job, store.put(Outcome(record)), reused=False)


def said(error: BaseException) -> str:
    """An error in one line; with its kind, unless it is one of ours, whose text says enough."""
    return str(error) if isinstance(error, AnomalyBenchError) else f"{type(error).__name__}: {error}"


def records(jobs: Sequence[Job], finished: Sequence[Finished], store: Store) -> list[Record]:
    """Records of a whole suite after a run of it or of a shard: the run's, and what others have left of the rest."""
    ran = {item.job.id: item.record for item in finished}
    known = [ran.get(job.id) or store.get(job) for job in jobs]
    return [record for record in known if record is not None]


@lru_cache(maxsize=16)
def _table(dataset: str, category: str, data: Path | None, fingerprint: str) -> Table:
    table = load_table(Choice.model_validate_json(dataset), category, data)
    if table.fingerprint != fingerprint:
        raise DataError(f"{category} in {table.root} is not what the run was planned with. Give all machines the same.")
    return table


def _key(job: Job) -> tuple[str, str]:
    return job.dataset.model_dump_json(), job.category
