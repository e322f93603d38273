"""The executor `local`: one job after the other in this process."""

from collections.abc import Iterator
from functools import partial

from anomalybench.bench.executors.tasks import Finished, Plan, Progress, work
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store


def run(todo: Plan, store: Store, settings: Settings, progress: Progress) -> Iterator[Finished]:
    """Run tasks in their order; see `executors.run`."""
    for task in todo.tasks:
        yield work(task, todo.table(task.job), store, settings, partial(progress, task.job))
