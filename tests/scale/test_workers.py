"""Workers on this machine: the same tables as without, whatever happens to a worker."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from anomalybench.bench.store import Store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")


def test_a_worker_that_dies_or_hangs_costs_only_its_job(probe, command, cli, tables, fits, tmp_path):
    faults = ["--set", "probe.faults=0=kill 2=sleep 3=loop 5=regex", "--timeout", 2]
    done = cli(*command(6, *faults, "--workers", 2, "--results", tmp_path / "results"))
    assert done.exit_code == 1
    assert "Failed: probe synthetic/weave pooled seed 0: its process died 3 times, killed by SIGKILL" in done.text
    errors = {record.job.seed: record.error for record in Store(tmp_path / "results").records()}
    late = "took longer than --timeout 2.0 s"
    assert {seed: errors[seed] for seed in (2, 3, 5)} == {2: late, 3: late, 5: f"{late}, and its process was ended"}
    assert f"{late}, and its process was ended" in done.text
    assert fits() == {0: 3, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert [child for child in psutil.Process().children() if "executors.worker" in " ".join(child.cmdline())] == []

    assert cli(*command(6, "--results", tmp_path / "here")).exit_code == 0
    ours, theirs = (tables(tmp_path / name).drop(columns=["job"]) for name in ("results", "here"))
    ours["method"] = theirs["method"]  # here without faults
    whole = ours["seed"].isin([1, 4])
    ours, theirs = (table[whole].dropna(axis=1, how="all") for table in (ours, theirs))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)


def group(leader):
    """Processes of a group that are not dead."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(probe, command, start, fits, tmp_path):
    run = start(*command(20, "--set", "probe.pause=0.2", "--workers", 2, "--results", tmp_path))
    deadline = time.monotonic() + 120
    while len(fits()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    _, messages = run.communicate(timeout=30)
    assert run.returncode == 130, messages
    assert "of 20 jobs done. The same command goes on." in messages
    assert "Traceback" not in messages
    left = group(run.pid)
    psutil.wait_procs(left, timeout=5)  # the processes that clean up after others see their pipes close
    assert group(run.pid) == []


def test_a_job_that_ctrl_c_ends_in_its_last_attempt_has_not_failed(probe, command, start, fits, tmp_path):
    slow = ["--set", "probe.faults=0=twice", "--set", "probe.pause=60"]
    run = start(*command(2, *slow, "--workers", 2, "--results", tmp_path))
    deadline = time.monotonic() + 60
    while fits().get(0) != 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    _, messages = run.communicate(timeout=30)
    assert run.returncode == 130, messages
    assert fits()[0] == 3
    assert not Store(tmp_path).records()


def test_workers_end_with_the_run_that_is_killed(probe, command, start, fits, tmp_path):
    run = start(*command(4, "--set", "probe.pause=60", "--workers", 2, "--results", tmp_path))
    deadline = time.monotonic() + 60
    while len(fits()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    left = group(run.pid)
    assert len(left) >= 3
    run.kill()
    psutil.wait_procs(left, timeout=5)
    assert group(run.pid) == []


TALKER = '''
"""Prints, and asks."""
import os, sys
from dataclasses import dataclass
import numpy as np
from anomalybench import Method, Prediction

@dataclass
class Talker(Method):
    """Scores by brightness."""
    learns_from = "nothing"

    def fit(self, train, context):
        print("printed in Python", flush=True)
        os.write(1, b"written to the stream\\n")
        print("read:", repr(sys.stdin.read()), "threads:", os.environ["OMP_NUM_THREADS"], flush=True)

    def predict(self, images):
        return Prediction(np.array([float(image.mean()) for image in images]))
'''
SCRIPT = """
import anomalybench
print("the script runs", flush=True)
params = {"synthetic.n_normal": 8, "synthetic.n_anomalous": 8}
what = {"methods": "talker", "floors": False, "dataset": "synthetic", "categories": "weave", "params": params}
tables = anomalybench.run(**what, seeds=[0, 1, 2], workers=2)
print(tables.by_category["status"].tolist())
"""


def test_a_script_needs_no_guard_and_a_plugin_may_print(make_plugin, tmp_path, monkeypatch):
    """What a plugin prints in a worker goes to the error stream; what it reads is empty."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    make_plugin(methods={"talker": TALKER})
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the script runs\n['ok', 'ok', 'ok']\n"
    for words in ("printed in Python", "written to the stream", "read: '' threads: 3"):
        assert done.stderr.count(words) == 3


def test_a_batch_system_that_ends_a_run_is_told_the_same(probe, command, start, fits, tmp_path):
    run = start(*command(20, "--set", "probe.pause=0.2", "--results", tmp_path))
    deadline = time.monotonic() + 60
    while len(fits()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.terminate()
    _, messages = run.communicate(timeout=30)
    assert run.returncode == 130, messages
    assert "of 20 jobs done. The same command goes on." in messages
    assert "Traceback" not in messages


def test_two_runs_at_once_do_no_harm_and_little_twice(probe, command, start, cli, tables, fits, tmp_path):
    slow = command(12, "--set", "probe.pause=0.4")
    runs = [start(*slow, "--results", tmp_path / "both")]
    deadline = time.monotonic() + 60
    while len(fits()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    runs.append(start(*slow, "--results", tmp_path / "both"))
    for run in runs:
        printed, messages = run.communicate(timeout=120)
        assert run.returncode == 0, printed + messages
    assert sum(fits().values()) < 24, "what the other has finished is not run again"
    assert cli(*slow, "--results", tmp_path / "straight").exit_code == 0
    pd.testing.assert_frame_equal(tables(tmp_path / "both"), tables(tmp_path / "straight"), check_exact=True)


def test_shards_together_are_the_whole(probe, command, cli, tables, fits, tmp_path):
    for part in ("1/3", "2/3", "3/3"):
        assert cli(*command(7, "--shard", part, "--results", tmp_path / "parts")).exit_code == 0
    assert fits() == dict.fromkeys(range(7), 1)
    assert cli(*command(7, "--results", tmp_path / "straight")).exit_code == 0
    pd.testing.assert_frame_equal(tables(tmp_path / "parts"), tables(tmp_path / "straight"), check_exact=True)


def test_a_job_over_its_time_has_failed_and_the_next_one_runs(probe, command, cli, tmp_path):
    done = cli(*command(2, "--set", "probe.faults=0=loop", "--timeout", 0.5, "--results", tmp_path))
    assert done.exit_code == 1
    assert "seed 0: took longer than --timeout 0.5 s" in done.text
    assert "seed 1: ok" in done.text


@pytest.mark.parametrize(
    "options",
    [
        ["--workers", 0, "--dry-run"], ["--workers", 2, "--cluster", "tcp://127.0.0.1:1"], ["--timeout", 0],
        ["--timeout", "nan", "--dry-run"], ["--shard", "0/3", "--dry-run"], ["--shard", "4/3"], ["--shard", "x"],
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(probe, command, cli, tmp_path, options):
    cli(*command(1, *options, "--results", tmp_path / "r")).assert_refused(*options[:2])
    assert not (tmp_path / "r").exists()
