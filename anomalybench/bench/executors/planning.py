"""Before and after the executor: which jobs have to run, and what a run has left."""

from collections.abc import Sequence
from pathlib import Path

from anomalybench.bench.executors.tasks import Finished, Plan, Task, key
from anomalybench.bench.store import Store
from anomalybench.bench.suite import Table, load_table
from anomalybench.core.job import Job, Record


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
        if key(job) not in tables:
            tables[key(job)] = load_table(job.dataset, job.category, data)
        fingerprint, record = tables[key(job)].fingerprint, store.get(job)
        if not force and record is not None and record.status != "failed" and record.fingerprint == fingerprint:
            done[job.id] = record
        else:
            tasks.append(Task(job, fingerprint, record))
    return Plan(jobs, done, tasks, tables, data)


def records(jobs: Sequence[Job], finished: Sequence[Finished], store: Store) -> list[Record]:
    """Records of a whole suite after a run of it or of a shard: the run's, and what others have left of the rest."""
    from_run = {item.job.id: item.record for item in finished}
    every = [from_run.get(job.id) or store.get(job) for job in jobs]
    return [record for record in every if record is not None]
