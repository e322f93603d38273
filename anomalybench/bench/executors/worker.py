"""A worker process of the executor `processes`: reads tasks from a pipe, writes down what has become of each.

Both are lines of JSON, so that the pipe holds plain text and any Python program can be the other end.
"""

import json
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from anomalybench.bench.executors.tasks import Finished, Task, work_apart
from anomalybench.bench.item_table import Source
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.errors import StoreError, described

T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """What all tasks of a run have in common.

    Attributes:
        source: Where images come from.
        results: Folder of the results.
        settings: How jobs are run.
    """

    source: Source
    results: Path
    settings: Settings


@dataclass(frozen=True)
class Answer:
    """What has become of a task; one of three.

    Attributes:
        finished: The job and its record.
        error: Why there is none.
        store_error: Why there can be none for any task.
    """

    finished: Finished | None = None
    error: str | None = None
    store_error: str | None = None


class Message(Generic[T]):
    """One kind of message as a line of text, and back."""

    def __init__(self, kind: type[T]) -> None:
        self._adapter = TypeAdapter(kind)

    def line(self, value: T) -> bytes:
        """The value as one line."""
        # json writes file names in another code than UTF-8, too; pydantic alone does not.
        return json.dumps(self._adapter.dump_python(value, mode="json")).encode() + b"\n"

    def value(self, line: bytes) -> T:
        """The value of a line.

        Raises:
            ValueError: The line is cut off or of another kind.
        """
        return self._adapter.validate_python(json.loads(line))


STARTS, TASKS, ANSWERS = Message(Start), Message(Task), Message(Answer)


def main() -> None:
    """Run tasks until the other end of the pipe is closed: then this process ends, in the middle of a job or not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started the workers answers Ctrl-C
    incoming, outgoing = os.fdopen(_moved(0, os.open(os.devnull, os.O_RDONLY)), "rb"), _moved(1, 2)
    start = STARTS.value(incoming.readline())
    store = Store(start.results)
    lines: SimpleQueue[bytes] = SimpleQueue()

    def receive() -> None:
        for line in incoming:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    while True:
        answer = ANSWERS.line(_answer(TASKS.value(lines.get()), start, store))
        while answer:
            answer = answer[os.write(outgoing, answer) :]


def _moved(descriptor: int, other: int) -> int:
    """A private copy of a standard stream, which becomes another one: what a plugin reads or prints is no message."""
    copy = os.dup(descriptor)
    os.dup2(other, descriptor)
    return copy


def _answer(task: Task, start: Start, store: Store) -> Answer:
    try:
        return Answer(work_apart(task, start.source, store, start.settings))
    except StoreError as error:
        return Answer(store_error=str(error))
    except Exception as error:  # it must not end the other jobs
        return Answer(error=described(error))
