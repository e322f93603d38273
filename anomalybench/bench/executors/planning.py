"""Before the executor: which jobs have to be fitted, which only to be measured, and which are done."""

from collections.abc import Sequence

from anomalybench.bench.executors.tasks import Plan, Task, fitted
from anomalybench.bench.item_table import ItemTables
from anomalybench.bench.store import Store
from anomalybench.core.job import Job
from anomalybench.core.record import MeasureOptions, Record


def plan(jobs: Sequence[Job], options: MeasureOptions, store: Store, tables: ItemTables, *, force: bool) -> Plan:
    """Read the item tables of all jobs, so that bad data are found before anything runs, and look up what is done.

    Args:
        jobs: The jobs.
        options: What to measure on each.
        store: Where results lie.
        tables: Where items come from.
        force: Fit all of them again.

    Raises:
        DataError: Data are missing or broken.
    """
    done: dict[str, Record] = {}
    tasks: list[Task] = []
    store.sweep(jobs)
    for job in jobs:
        fingerprint = tables.get(job.dataset, job.category).fingerprint
        record = store.get(job, fingerprint)
        task = Task(job, options, fingerprint, force, record)
        if record is not None and fitted(task, record) and record.measured(options):
            done[job.id] = record
        else:
            tasks.append(task)
    return Plan(jobs, done, tasks, tables, options)
