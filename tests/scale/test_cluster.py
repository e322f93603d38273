"""A real Dask scheduler and two workers, each a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from anomalybench.bench.executors import Task
from anomalybench.bench.executors import dask as cluster
from anomalybench.bench.item_table import Source
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import MeasureOptions

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
DASK = [
    sys.executable,
    "-c",
    "import signal; signal.signal(2, signal.default_int_handler); from dask.__main__ import main; main()",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def dask(probe, tmp_path, monkeypatch):
    """Address of a scheduler, its process, and what starts a worker."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "2")
    port, started = free_port(), []

    def run(*arguments, **options):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen([*DASK, *map(str, arguments)], start_new_session=True, **quiet, **options))
        return started[-1]

    address = f"tcp://127.0.0.1:{port}"
    scheduler = run("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")

    def worker(*more, **options):
        folder = tmp_path / f"worker{len(started)}"
        flags = [*more, "--nthreads", 1, "--host", "127.0.0.1", "--no-dashboard", "--local-directory", folder]
        return run("worker", address, *flags, **options)

    yield address, scheduler, worker
    for process in started:
        for signum in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(process.pid, signum)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_cluster_gives_the_tables_of_one_machine(dask, command, start, cli, tables, fits, tmp_path, monkeypatch):
    """One worker is killed in mid-job; then one job kills its workers and one hangs; then one worker has a GPU to lend;
    then the store is not shared.
    """
    address, _, worker = dask
    nannies = [worker(), worker()]
    slow = command(8, "--set", "probe.pause=0.5")
    run = start(*slow, "--cluster", address, "--results", tmp_path / "cluster")
    wait_for(lambda: len(fits()) >= 3)
    victim = psutil.Process(nannies[0].pid).children(recursive=True)[-1]
    victim.kill()
    printed, messages = run.communicate(timeout=120)
    assert run.returncode == 0, printed + messages
    assert sum(fits().values()) in (8, 9), "the killed job alone is run again"
    assert cli(*slow, "--results", tmp_path / "here").exit_code == 0
    pd.testing.assert_frame_equal(tables(tmp_path / "cluster"), tables(tmp_path / "here"), check_exact=True)

    faults = ["--set", "probe.faults=0=kill 2=sleep", "--timeout", 2, "--cluster", address]
    done = cli(*command(4, *faults, "--results", tmp_path / "faults"))
    assert done.exit_code == 1
    assert "seed 0: its process died 3 times" in done.text
    assert "seed 2: took longer than --timeout 2.0 s" in done.text
    # A result that was with a worker that died is asked for again and found in the store.
    assert re.search("seed 1: (ok|done before)", done.text)
    assert re.search("seed 3: (ok|done before)", done.text)

    log = tmp_path / "of the worker with a GPU"
    worker("--resources", "GPU=1", env=os.environ | {"PROBE_LOG": str(log)})
    wait_for(lambda: len(_workers(address)) == 3)
    assert cli(*command(3, "--cluster", address, "--results", tmp_path / "gpu")).exit_code == 0
    assert sorted(log.read_text().split()) == ["0", "1", "2"]

    monkeypatch.setattr(cluster, "SHARED_S", 0)
    monkeypatch.setattr(cluster, "look_up", lambda task, store: None)
    done = cli(*command(1, "--cluster", address, "--results", tmp_path / "unshared"))
    done.assert_refused("All machines must share the results folder", "tcp://127.0.0.1")
    monkeypatch.undo()


NEARBY = """
'''Procedural images that some machines lack.'''
import os
from dataclasses import dataclass
from anomalybench.core.errors import DataError
from anomalybench.datasets.synthetic import Synthetic

@dataclass(frozen=True, kw_only=True)
class Nearby(Synthetic):
    def root(self, data):
        if "NO_DATA" in os.environ:
            raise DataError("the folder /plates does not exist")
        return super().root(data)
"""


def test_jobs_leave_a_worker_without_data_and_a_run_outlives_its_scheduler(
    dask, make_plugin, command, start, cli, fits, tmp_path
):
    address, scheduler, worker = dask
    make_plugin(datasets={"nearby": NEARBY})
    worker(env=os.environ | {"NO_DATA": "1"})
    line = [argument.replace("synthetic", "nearby") for argument in command(3, "--cluster", address)]
    alone = cli(*line, "--results", tmp_path / "alone")
    assert alone.exit_code == 1
    assert "seed 2: worker tcp://127.0.0.1:" in alone.text
    assert f"{socket.gethostname()}: the folder /plates does not exist" in alone.text

    worker()
    wait_for(lambda: len(_workers(address)) == 2)
    both = cli(*line, "--results", tmp_path / "both")
    assert both.exit_code == 0, both.text

    slow = [argument.replace("synthetic", "nearby") for argument in command(8, "--set", "probe.pause=1")]
    run = start(*slow, "--cluster", address, "--results", tmp_path / "orphan")
    seen = sum(fits().values())
    wait_for(lambda: sum(fits().values()) > seen + 1)
    scheduler.kill()
    _, messages = run.communicate(timeout=60)
    assert run.returncode == 1, messages
    assert "The Dask scheduler was lost" in messages
    assert "the same command goes on" in messages
    assert "Traceback" not in messages
    assert 1 <= len(list(Store(tmp_path / "orphan").records())) < 8


def test_a_worker_with_another_version_of_a_method_is_refused(dask, command, cli, fits, tmp_path):
    address, _, worker = dask
    worker(env=os.environ | {"PROBE_VERSION": "2"})
    line = command(3, "--cluster", address)
    alone = cli(*line, "--results", tmp_path / "alone")
    assert alone.exit_code == 1
    assert f"{socket.gethostname()}: method 'probe' has version 2 here, but the run was planned with" in alone.text
    assert fits() == {}

    worker()
    wait_for(lambda: len(_workers(address)) == 2)
    both = cli(*line, "--results", tmp_path / "both")
    assert both.exit_code == 0, both.text
    assert fits() == {0: 1, 1: 1, 2: 1}


def _workers(address):
    from distributed import Client

    with Client(address, timeout=10) as client:
        return client.nthreads()


class Scheduler:
    """Where all workers but one have gone."""

    def scheduler_info(self, n_workers):
        return {"workers": {"tcp://here": {"nthreads": 1, "resources": {}}}}

    def cancel(self, futures):
        pass


def test_a_job_is_not_given_for_ever_to_workers_that_go_away(tmp_path):
    toy = Choice(name="toy")
    job = Job(method=toy, version=1, dataset=toy, category="a", protocol=toy, seed=0)
    submitted = cluster.Submitted(Scheduler(), Source(), Store(tmp_path), Settings())
    ends = []
    for attempt in range(3):
        submitted.running[attempt] = cluster.Running(Task(job, MeasureOptions(), "fingerprint"), {"tcp://gone"})
        [task] = submitted.stranded(submitted.threads())
        ends.append(submitted.given_up(task))
    assert ends[:2] == [None, None]
    assert "went away 3 times" in ends[2].record.error
    assert not submitted.running


def test_a_cluster_that_is_not_there_is_refused(probe, command, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    line = command(1, "--cluster", address, "--results", tmp_path)
    cli(*line).assert_refused(address, "no Dask scheduler answers there")
    monkeypatch.setitem(sys.modules, "distributed", None)
    cli(*line).assert_refused("pip install 'anomalybench-vision[cluster]'")
