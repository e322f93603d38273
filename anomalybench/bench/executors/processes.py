"""The executor `processes`: jobs side by side on this machine.

Every worker is a Python process of its own with a pipe: where one dies, only its job is lost, and it is known which.
Pebble's pool was tried (5.2) and not taken. It starts workers through `multiprocessing`, which runs a script without
`if __name__ == "__main__"` again in each; its workers finish their job after this process was killed; its time limit
counts the wait for a GPU, and ends the worker; and the limit within a process is needed anyway, for Dask.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import IO, cast

from anomalybench.bench.executors import watchdog
from anomalybench.bench.executors.tasks import RETRIES, Finished, Plan, Progress, Task, look_up, lost
from anomalybench.bench.executors.worker import ANSWERS, STARTS, TASKS, Answer, Start
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.errors import StoreError

_COMMAND = "import sys; sys.path[:] = sys.argv[1:]; from anomalybench.bench.executors.worker import main; main()"
_PATIENCE_S = 10
"""How long a process may take to end after its last word."""


def run(todo: Plan, store: Store, settings: Settings, progress: Progress) -> Iterator[Finished]:
    """Run tasks in `settings.workers` processes; see `executors.run`."""
    workers = _Workers(Start(todo.tables.source, store.results, settings))
    threads = ThreadPoolExecutor(settings.workers, "anomalybench-worker")
    try:
        for future in as_completed([threads.submit(_finish, task, workers, store) for task in todo.tasks]):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        workers.stop()
        threads.shutdown()
        workers.close()


def _finish(task: Task, workers: "_Workers", store: Store) -> Finished:
    """Give a task to a worker, and to another one where it dies.

    Raises:
        StoreError: There can be no result of any task.
    """
    end = ""
    for _ in range(RETRIES + 1):
        worker = workers.take()
        answer = worker.answer(task)
        if answer is None:
            end = worker.end()
            if finished := look_up(task, store):
                return finished
            workers.check()
            if worker.ended_late:
                return lost(task, f"took longer than --timeout {worker.limit} s, and its process was ended", store)
            continue
        workers.give_back(worker)
        if answer.store_error is not None:
            raise StoreError(answer.store_error)
        return answer.finished or lost(task, answer.error or "", store)
    return lost(task, f"its process died {RETRIES + 1} times, {end}", store)


class _StoppedError(Exception):
    """The run has ended."""


class _Workers:
    """The processes of a run; none is started after `stop`."""

    def __init__(self, start: Start) -> None:
        self._start, self._stopped = start, False
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []

    def take(self) -> "_Worker":
        """A worker that has nothing to do, or a new one."""
        with self._lock:
            self.check()
            if self._idle:
                return self._idle.pop()
            self._all.append(_Worker(self._start))
            return self._all[-1]

    def give_back(self, worker: "_Worker") -> None:
        """The worker may be taken again."""
        with self._lock:
            self._idle.append(worker)

    def check(self) -> None:
        """Fail if the run has ended: what has died since then was killed by `stop`."""
        if self._stopped:
            raise _StoppedError

    def stop(self) -> None:
        """End all processes, whatever they are doing."""
        with self._lock:
            self._stopped = True  # before the first one ends
            for worker in self._all:
                worker.process.kill()

    def close(self) -> None:
        """Close the pipes, which nobody may be reading any more."""
        for worker in self._all:
            with suppress(OSError), worker.process:  # OSError: what was left in a pipe cannot be written
                pass


class _Worker:
    """A process that runs one task after the other, as seen from the one that gives them out."""

    def __init__(self, start: Start) -> None:
        # Ctrl-C reaches all processes of a terminal; blocked here, it is blocked in the new process from its beginning.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else set()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | start.settings.environment,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        finally:
            if os.name == "posix":
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.limit, self._given = start.settings.timeout, 0.0
        self._tasks, self._answers = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        self._send(STARTS.line(start))

    def answer(self, task: Task) -> Answer | None:
        """What the task has come to; None if the process died."""
        self._given = time.monotonic()
        self._send(TASKS.line(task))
        line = self._answers.readline()
        return ANSWERS.value(line) if line.endswith(b"\n") else None

    def end(self) -> str:
        """What the process died of."""
        try:
            code = self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        by = f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"{by}; out of memory? Try fewer --workers" if code == -9 else by

    @property
    def ended_late(self) -> bool:
        """The watchdog has ended the process, which had no chance to keep why: see `watchdog.limited`."""
        late = self.limit is not None and time.monotonic() - self._given > self.limit
        return late and self.process.returncode == watchdog.EXIT_CODE

    def _send(self, line: bytes) -> None:
        with suppress(OSError):  # a process that has died is found out by its answer
            self._tasks.write(line)
            self._tasks.flush()
