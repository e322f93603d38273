import random
import subprocess
import sys
import threading
import time

import pytest

from anomalybench.bench.executors.watchdog import TimeLimitError, limited


def forever():
    while True:
        pass


def stubborn():
    """Takes every error for its own."""
    while True:
        try:
            forever()
        except Exception:
            continue


@pytest.mark.parametrize("work", [forever, stubborn])
@pytest.mark.parametrize("main", [True, False])
def test_work_in_python_is_stopped_in_any_thread(work, main):
    found = []

    def call():
        with pytest.raises(TimeLimitError):
            limited(work, 0.1)
        found.append(True)

    if main:
        call()
    else:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(10)
    assert found


def test_work_in_time_is_left_alone():
    assert limited(lambda: 7, 5) == limited(lambda: 7, None) == 7
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0, 5)


def test_work_that_ends_at_its_limit_is_done_or_stopped_and_nothing_comes_later():
    """Around the limit, 300 times: the exception never gets out of the call, and never comes after it."""
    chance, ends = random.Random(0), []
    for seconds in [60, *(0.005 + chance.uniform(-0.003, 0.003) for _ in range(299))]:
        until = time.perf_counter() + seconds

        def work(until=until):
            while time.perf_counter() < until:
                pass
            return True

        try:
            ends.append(limited(work, 0.005))
        except TimeLimitError:
            ends.append(False)
    for _ in range(1000):
        time.sleep(0)
    assert len(ends) == 300
    assert not ends[0]


STUCK = """
import os, re, time
from anomalybench.bench.executors.watchdog import limited
limited({work}, 0.2, lambda: os._exit(7))
"""


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("lambda: time.sleep(60)", 7),
        ("lambda: re.match('(a+)+b', 'a' * 60)", 1),  # holds the interpreter's lock
    ],
)
def test_a_process_stuck_in_c_is_ended(work, code):
    done = subprocess.run([sys.executable, "-c", STUCK.format(work=work)], timeout=30, capture_output=True, check=False)
    assert done.returncode == code
