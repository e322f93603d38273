"""The executor `dask`: jobs on the workers of a Dask cluster, which all see the results folder and the data.

No more jobs are with the scheduler than its workers have threads, so that those it suspects when a worker dies were
truly running there.
"""

import logging
import signal
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from anomalybench.bench.executors.tasks import (
    RETRIES,
    Finished,
    MachineError,
    Plan,
    Progress,
    Task,
    look_up,
    lost,
    work_apart,
)
from anomalybench.bench.item_table import Source
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.errors import ClusterError, StoreError, UsageError, described

CONNECT_S = 15
"""How long a scheduler, and its first worker, may take to answer."""
_LOOK_AGAIN_S = 5
SHARED_S = 60
"""How long a network file system may take until this machine sees what another has written."""


class _Answer(NamedTuple):
    """What a worker has come to: a finished job, or why it cannot run it."""

    worker: str
    finished: Finished | None
    lacks: str = ""


def run(todo: Plan, store: Store, settings: Settings, progress: Progress) -> Iterator[Finished]:
    """Run tasks on the cluster that `settings.cluster` names; see `executors.run`."""
    waiting = deque(todo.tasks)
    with ExitStack() as stack:
        client = _connect(stack, settings)
        submitted = Submitted(client, todo.tables.source, store, settings)
        try:
            while waiting or submitted.running:
                threads = submitted.threads()
                for task in submitted.stranded(threads):
                    if finished := submitted.given_up(task):
                        yield finished
                    else:
                        waiting.append(task)
                while waiting and len(submitted.running) < max(1, sum(threads.values())):
                    submitted.submit(waiting.popleft(), threads)
                for future in submitted.ended():
                    task = submitted.running.pop(future).task
                    if finished := submitted.settled(future, task, threads):
                        yield finished
                    else:
                        waiting.append(task)
        except (OSError, CancelledError) as error:
            raise _scheduler_lost() from error
        finally:
            if client.status == "running":
                client.cancel(list(submitted.running))


class Running(NamedTuple):
    """A task that is with the scheduler, and the workers that may run it; none means any."""

    task: Task
    workers: Collection[str]


class Submitted:
    """What is with the scheduler.

    Attributes:
        running: Tasks by their futures.
    """

    def __init__(self, client: Any, source: Source, store: Store, settings: Settings) -> None:
        self.running: dict[Any, Running] = {}
        self._client, self._store = client, store
        here = replace(source, data=source.data and source.data.resolve())
        self._rest = here, Store(store.results.resolve()), settings
        wanted = settings.device == "auto" or settings.device.startswith("cuda")
        self._gpus = wanted and any("GPU" in worker["resources"] for worker in self._workers().values())
        self._lacking = defaultdict[str, set[str]](set)
        """Workers that could not run a job for lack of its data or code, by its id."""
        self._lost = Counter[str]()

    def threads(self) -> dict[str, int]:
        """Threads of each worker that may run jobs: where some have said how many GPUs they have, these alone."""
        workers = self._workers().items()
        return {address: each["nthreads"] for address, each in workers if not self._gpus or "GPU" in each["resources"]}

    def submit(self, task: Task, threads: Collection[str]) -> None:
        """Give a task to any worker, or to those that may have its data and code."""
        lacking = self._lacking.get(task.job.id)
        workers = set(threads) - lacking if lacking else ()
        options: dict[str, Any] = {"workers": sorted(workers)} if workers else {}
        if self._gpus:
            options["resources"] = {"GPU": 1}
        self.running[self._client.submit(_run_task, task, *self._rest, pure=False, **options)] = Running(task, workers)

    def stranded(self, threads: Collection[str]) -> list[Task]:
        """Take back tasks that wait for workers which are gone, as the scheduler would wait for ever."""
        gone = [future for future, (_, workers) in self.running.items() if workers and not set(workers) & set(threads)]
        self._client.cancel(gone)
        return [self.running.pop(future).task for future in gone]

    def given_up(self, task: Task) -> Finished | None:
        """The end of a task whose workers have gone too often, as it may have killed them; None if others may try."""
        self._lost[task.job.id] += 1
        if self._lost[task.job.id] <= RETRIES:
            return None
        reason = f"the workers that have its data and code went away {RETRIES + 1} times; out of memory?"
        return look_up(task, self._store) or lost(task, reason, self._store)

    def ended(self) -> list[Any]:
        """Futures that have come to an end; none for now if that takes long, as there may be other workers by then."""
        from distributed import wait

        try:
            return list(wait(list(self.running), timeout=_LOOK_AGAIN_S, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []

    def settled(self, future: Any, task: Task, threads: Collection[str]) -> Finished | None:
        """What has become of a task; None if it is to be given to another worker."""
        answer = _answer(future, task, self._store)
        if isinstance(answer, Finished):
            return answer
        lacking = self._lacking[task.job.id]
        lacking.add(answer.worker)
        if set(threads) - lacking:
            return None
        return lost(task, f"worker {answer.worker}: {answer.lacks}", self._store)

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers


def _connect(stack: ExitStack, settings: Settings) -> Any:
    """A client of the cluster, which has a worker at least."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise UsageError(
            "--cluster needs the package distributed: pip install 'anomalybench-vision[cluster]'"
        ) from None
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    address: Any = settings.cluster
    if address == "local":
        ours = {f"distributed.nanny.pre-spawn-environ.{key}": value for key, value in settings.environment.items()}
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": RETRIES, **ours}))
        with _without_interrupts():
            address = LocalCluster(
                settings.workers,
                threads_per_worker=1,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it warns where port 8787 is taken
                silence_logs=logging.CRITICAL,
            )
        stack.enter_context(address)
    try:
        client = stack.enter_context(Client(address, timeout=CONNECT_S))
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates
        raise UsageError(f"--cluster {settings.cluster}: no Dask scheduler answers there ({error}).") from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        raise UsageError(
            f"--cluster {settings.cluster}: the scheduler has no workers. Start some: dask worker ..."
        ) from None
    return client


def _run_task(task: Task, source: Source, store: Store, settings: Settings) -> _Answer:
    """What runs on a worker."""
    from distributed import get_worker

    try:
        return _Answer(get_worker().address, work_apart(task, source, store, settings))
    except MachineError as error:
        return _Answer(get_worker().address, None, str(error))


def _answer(future: Any, task: Task, store: Store) -> Finished | _Answer:
    """What a future that has ended holds; what the scheduler says of a job counts less than what is in the store."""
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise _scheduler_lost()
    error = future.exception()
    if error is None:
        answer: _Answer = future.result()
        if answer.finished is not None:
            _check_shared(answer.worker, task, store)
        return answer.finished or answer
    if isinstance(error, StoreError):
        raise error
    if isinstance(error, KilledWorker):
        died = (
            f"its process died {error.allowed_failures + 1} times, at last {error.last_worker.address}; out of memory?"
        )
        return look_up(task, store) or lost(task, died, store)
    return lost(task, described(error), store)


def _check_shared(worker: str, task: Task, store: Store) -> None:
    """Fail if what a worker has written is not to be seen here."""
    deadline = time.monotonic() + SHARED_S
    while look_up(task, store) is None:
        if time.monotonic() > deadline:
            raise StoreError(
                f"worker {worker} has written {task.job} into a folder {store.results.resolve()} of its own. All "
                "machines must share the results folder: name a shared one with --results DIR."
            )
        time.sleep(0.2)


def _scheduler_lost() -> ClusterError:
    return ClusterError("The Dask scheduler was lost. What is done is kept; the same command goes on with the rest.")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C, which reaches all of a terminal: who started them answers it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
