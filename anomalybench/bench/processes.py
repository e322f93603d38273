"""The executor `processes`: jobs side by side on this machine.

Every worker has a pipe of its own rather than a place in a pool: where one dies, only its job is lost, and it is known
which. Loky starts the processes, so that a script needs no `if __name__ == "__main__"`.
"""

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import cast

from joblib.externals.loky.backend.process import LokyProcess

from anomalybench.bench.executor import RETRIES, Finished, Plan, Task, look_up, lost, said, work_apart
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.errors import StoreError

_Answer = Finished | str | StoreError | None
"""What a process says of its task: the outcome, why there is none, why there can be no more; None if it died."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def processes(todo: Plan, store: Store, settings: Settings) -> Iterator[Finished]:
    """Run tasks in `settings.workers` processes; see `executor.run`."""
    waiting, deaths = deque(todo.tasks), Counter[str]()
    idle: list[_Worker] = []
    busy: dict[Connection, _Worker] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < settings.workers:
                worker = idle.pop() if idle else _Worker(todo.data, store, settings)
                busy[worker.connection] = worker
                worker.give(waiting.popleft())
            for connection in wait(list(busy)):
                worker = busy.pop(cast(Connection, connection))
                answer = worker.answer()
                if answer is None:
                    worker.stop(patience=1)
                    deaths[worker.task.job.id] += 1
                else:
                    idle.append(worker)
                if finished := _settled(worker, answer, deaths[worker.task.job.id], store):
                    yield finished
                else:
                    waiting.append(worker.task)
    finally:
        for worker in (*idle, *busy.values()):
            worker.stop()


def _settled(worker: "_Worker", answer: _Answer, deaths: int, store: Store) -> Finished | None:
    """What has become of a worker's task; None if it is to be run again."""
    if isinstance(answer, StoreError):
        raise answer
    if isinstance(answer, Finished):
        return answer
    if isinstance(answer, str):
        return lost(worker.task, answer, store)
    if deaths <= RETRIES:
        return look_up(worker.task, store)
    return look_up(worker.task, store) or lost(worker.task, f"its process died {deaths} times, {worker.end()}", store)


class _Worker:
    """A process that runs one task after the other, as seen from the one that gives them out."""

    task: Task

    def __init__(self, data: Path | None, store: Store, settings: Settings) -> None:
        self.connection, theirs = Pipe()
        environment = dict.fromkeys(THREADS, str(settings.threads))
        self._process = LokyProcess(target=_serve, args=(theirs, data, store, settings), env=environment)
        with without_interrupts():
            self._process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        """Start a task; a process that has died by now is found out by the answer."""
        self.task = task
        with suppress(OSError):
            self.connection.send(task)

    def answer(self) -> _Answer:
        """What the task has come to; None if the process died."""
        try:
            answer: Finished | str | StoreError = self.connection.recv()
        except (EOFError, OSError):
            return None
        return answer

    def end(self) -> str:
        """What the process died of."""
        code = self._process.exitcode or 0
        by = f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"{by}; out of memory? Try fewer --workers" if code == -9 else by

    def stop(self, patience: float = 0) -> None:
        """End the process, whatever it is doing; with `patience`, give it so many seconds to end by itself."""
        self.connection.close()
        self._process.join(patience)
        self._process.terminate()
        self._process.join()


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C, which reaches all of a terminal: who started them answers it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _serve(connection: Connection, data: Path | None, store: Store, settings: Settings) -> None:
    """Run tasks until the other end of the pipe is closed: then this process ends, in the middle of a job or not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for where it is not handed on from `without_interrupts`
    tasks: SimpleQueue[Task] = SimpleQueue()

    def receive() -> None:
        try:
            while True:
                tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    while True:
        task = tasks.get()
        try:
            answer: _Answer = work_apart(task, data, store, settings)
        except StoreError as error:
            answer = error
        except Exception as error:  # it must not end the other jobs
            answer = said(error)
        connection.send(answer)
