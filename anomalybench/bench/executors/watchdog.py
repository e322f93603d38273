"""A time limit for a job that works in any thread, since Dask runs jobs off the main one, where no signal arrives.

An exception is raised in the job's thread at its next step in Python. Code that takes no such step, as a long call into
C does not, can only be stopped with its process.
"""

import ctypes
import faulthandler
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
EXIT_CODE = 1
"""Of a process that is ended because code in C holds the interpreter's lock; faulthandler knows no other."""
_GRACE_S = 10.0


class TimeLimitError(Exception):
    """The work took longer than it may."""


class _Late(BaseException):
    """Raised in the work's thread; no Exception, so that the work does not take it for one of its own."""


def limited(work: Callable[[], T], seconds: float | None, stuck: Callable[[], None] | None = None) -> T:
    """Do some work within a time limit.

    Args:
        work: What to do.
        seconds: The limit; None for none.
        stuck: Called, in another thread, where the work has not stopped 10 s (or the limit, if less) after the limit.
            It must end the process. Should it not get to run, as code in C holds the interpreter's lock, the process is
            ended as well.

    Raises:
        TimeLimitError: The work was stopped.
    """
    if seconds is None:
        return work()
    watch = _Watch(seconds, stuck)
    try:
        try:
            watch.start()
            return work()
        finally:
            watch.end()
    except _Late:
        watch.end()  # it may have come while the first one was under way
        raise TimeLimitError from None


class _Watch:
    """The thread that looks at the clock; it raises at most one exception in the thread that made it."""

    def __init__(self, seconds: float, stuck: Callable[[], None] | None) -> None:
        self._seconds, self._stuck, self._grace = seconds, stuck, min(seconds, _GRACE_S)
        self._worker = threading.get_ident()
        self._lock, self._ended = threading.Lock(), threading.Event()

    def start(self) -> None:
        """Look at the clock from now on."""
        if self._stuck is not None:
            faulthandler.dump_traceback_later(self._seconds + 3 * self._grace, exit=True)
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """From here on nothing is raised any more, not even what is under way."""
        with self._lock:
            self._ended.set()
        if self._stuck is not None:
            faulthandler.cancel_dump_traceback_later()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._worker), None)

    def _watch(self) -> None:
        if self._ended.wait(self._seconds):
            return
        with self._lock:
            if self._ended.is_set():
                return
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._worker), ctypes.py_object(_Late))
        if self._stuck is None or self._ended.wait(self._grace):
            return
        with self._lock:
            if not self._ended.is_set():
                self._stuck()
