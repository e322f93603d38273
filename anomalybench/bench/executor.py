"""Executors: jobs in, finished jobs out as they end. What the store already has is not run again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anomalybench.bench.runner import run_job
from anomalybench.bench.store import Store
from anomalybench.bench.suite import Table, load_table
from anomalybench.core.job import Job, Record
from anomalybench.vision.features import FeatureStore


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
        tables: Items by dataset and category.
    """

    jobs: Sequence[Job]
    done: dict[str, Record]
    tables: dict[tuple[str, str], Table]

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
    for job in jobs:
        if _key(job) not in tables:
            tables[_key(job)] = load_table(job.dataset, job.category, data)
        record = None if force else store.get(job)
        if record is not None and record.status != "failed" and record.fingerprint == tables[_key(job)].fingerprint:
            done[job.id] = record
    return Plan(jobs, done, tables)


def here(
    todo: Plan, store: Store, device: str, progress: Callable[[Job, int, int], None], feature_gb: float = 20.0
) -> Iterator[Finished]:
    """Run jobs one after the other in this process.

    Args:
        todo: From `plan`.
        store: Where results go.
        device: Torch device name.
        progress: Called with (job, steps done, steps in all).
        feature_gb: Most that frozen features may take on the disk; 0 keeps none.
    """
    work = store.results / "work"
    features = FeatureStore(work / "features", int(feature_gb * 1e9)) if feature_gb else None
    for job in todo.jobs:
        if job.id in todo.done:
            yield Finished(job, todo.done[job.id], reused=True)
            continue
        outcome = run_job(job, todo.table(job), device, partial(progress, job), work, features)
        yield Finished(job, store.put(outcome), reused=False)


def _key(job: Job) -> tuple[str, str]:
    return job.dataset.model_dump_json(), job.category
