"""Executors: how the jobs of a plan are run. Each is a file with a function `run`; `run` here chooses one."""

from collections.abc import Generator

from anomalybench.bench.executors import dask, local, processes
from anomalybench.bench.executors.planning import plan
from anomalybench.bench.executors.tasks import Finished, Plan, Progress, Task
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.record import rule_name

__all__ = ["Finished", "Plan", "Task", "plan", "run"]


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
    rule = rule_name(todo.options.threshold)
    yield from (Finished(job, todo.done[job.id], reused=True, rule=rule) for job in todo.jobs if job.id in todo.done)
    if not todo.tasks:
        return
    if settings.cluster is not None:
        yield from dask.run(todo, store, settings, progress)
    elif settings.workers > 1:
        yield from processes.run(todo, store, settings, progress)
    else:
        yield from local.run(todo, store, settings, progress)
