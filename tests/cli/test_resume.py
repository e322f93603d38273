"""A run that is killed, interrupted or repeated: what is done is kept, what is missing is run, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest
from PIL import Image

SLOW = '''
"""Takes its time, and draws something at random."""
import time
from dataclasses import dataclass
from typing import Annotated
import numpy as np
from pydantic import Field
from anomalybench import Method, Prediction

@dataclass
class Slow(Method):
    """The score is the mean brightness times a number drawn in the fit."""
    learns_from = "normals"
    pause: Annotated[float, Field(ge=0, description="seconds that a fit takes")] = 0.3

    def fit(self, train, context):
        time.sleep(self.pause)
        self.factor_ = context.rng.normal(size=1)

    def predict(self, images):
        scores = np.array([image.mean() for image in images]) * self.factor_
        return Prediction(scores, scores[:, None, None] * np.ones((4, 4)))
'''
N = 7
SMALL = ["--categories", "weave", "--set", "synthetic.n_normal=8", "--set", "synthetic.n_anomalous=8"]
RUN = ["--methods", "slow", "--dataset", "synthetic", "--no-floors", *SMALL, "--seeds", ",".join(map(str, range(N)))]
COSTS = ["fit_s", "predict_ms_per_image", "latency_p50_ms", "latency_p95_ms", "peak_memory_mb", "total_s"]
START = (
    # A shell that starts tests in the background may make them ignore SIGINT, and their children with them.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from anomalybench.cli import main; main()"
)


@pytest.fixture
def slow(make_plugin):
    make_plugin(methods={"slow": SLOW})


def records(results):
    """When each finished job's record was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in results.glob("runs/*/*/*/[!.]*/record.json")}


def scores(results):
    return {file.parent.name: pd.read_parquet(file) for file in results.glob("runs/*/*/*/[!.]*/scores.parquet")}


def jobs(results):
    return pd.read_csv(results / "leaderboards" / "synthetic_by_category.csv").drop(columns=COSTS)


def stop_half_way(results, how):
    """Start the run, stop it by a signal after two jobs at least, and return its exit code and messages."""
    command = [sys.executable, "-c", START, "run", *RUN, "--results", str(results)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while len(records(results)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, how)
        _, messages = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, messages


@pytest.mark.parametrize(("how", "exit_code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_stopped_run_goes_on_where_it_was(slow, cli, tmp_path, how, exit_code):
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    code, messages = stop_half_way(stopped, how)
    assert code == exit_code
    before = records(stopped)
    assert 2 <= len(before) < N
    if how == signal.SIGINT:
        assert f"Interrupted with {len(before)} of {N} jobs done. The same command goes on." in messages
        assert "Traceback" not in messages

    again = cli("run", *RUN, "--results", stopped)
    after = records(stopped)
    assert again.exit_code == 0
    assert again.text.count("done before") == len(before)
    assert len(after) == N
    assert {job: after[job] for job in before} == before

    assert cli("run", *RUN, "--results", straight).exit_code == 0
    pd.testing.assert_frame_equal(jobs(stopped), jobs(straight), check_exact=True)
    assert_same_scores(stopped, straight)


def assert_same_scores(one, other):
    a, b = scores(one), scores(other)
    assert a.keys() == b.keys()
    assert a
    for job in a:
        pd.testing.assert_frame_equal(a[job], b[job], check_exact=True)


def test_a_kill_leaves_no_half_written_job_behind(slow, cli, tmp_path):
    """A folder that was being written is neither taken for a result nor in the way."""
    quick = [*RUN, "--set", "slow.pause=0", "--results", tmp_path]
    assert cli("run", *quick).exit_code == 0
    (done, *_) = sorted(tmp_path.glob("runs/*/*/*/*/record.json"))
    aside = done.parent.with_name(f".{done.parent.name}.half")
    done.parent.rename(aside)
    again = cli("run", *quick)
    assert again.exit_code == 0
    assert again.text.count("done before") == N - 1
    assert len(records(tmp_path)) == N
    assert len(pd.read_csv(tmp_path / "leaderboards" / "synthetic_by_category.csv")) == N


def test_the_same_command_gives_the_same_scores(slow, cli, tmp_path):
    quick = [*RUN, "--set", "slow.pause=0"]
    for name in ("one", "other"):
        assert cli("run", *quick, "--results", tmp_path / name).exit_code == 0
    assert_same_scores(tmp_path / "one", tmp_path / "other")
    pd.testing.assert_frame_equal(jobs(tmp_path / "one"), jobs(tmp_path / "other"), check_exact=True)
    everything = pd.concat(scores(tmp_path / "one").values())
    assert everything["path"].duplicated().any()
    assert not everything.duplicated(["path", "score"]).any(), "each seed draws its own factor"


def test_force_runs_everything_again_and_gives_the_same(slow, cli, tmp_path):
    quick = [*RUN, "--set", "slow.pause=0", "--results", tmp_path]
    cli("run", *quick)
    before, numbers = records(tmp_path), jobs(tmp_path)
    forced = cli("run", *quick, "--force")
    assert forced.exit_code == 0
    assert "done before" not in forced.text
    after = records(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[job] > before[job] for job in before)
    pd.testing.assert_frame_equal(jobs(tmp_path), numbers, check_exact=True)


def test_other_parameters_and_seeds_are_other_jobs(slow, cli, tmp_path):
    call = partial(cli, "run", *RUN[:-2], "--results", tmp_path, "--set", "slow.pause=0")
    assert "done before" not in call("--seeds", "0").text
    for change in (["--seeds", "1"], ["--protocol", "standard"], ["--set", "pooled.train=0.5"]):
        assert "done before" not in call(*change).text
    assert call("--seeds", "0").text.count("done before") == 1
    assert "0 to fit, 1 only to measure, 0 done." in call("--seeds", "0", "--threshold", "fpr").text


def test_changed_data_make_their_category_run_again(run, images):
    call = partial(run, "--methods", "brightest", "--no-floors", "--dataset", "mvtec_ad", "--data", images)
    assert call().exit_code == 0
    assert call().text.count("done before") == 2
    Image.new("L", (16, 16), 104).save(images / "nut" / "train" / "good" / "04.png")
    changed = call().stdout.splitlines()
    assert any("mvtec_ad/bolt" in line and "done before" in line for line in changed)
    assert any("mvtec_ad/nut" in line and "ok in" in line for line in changed)
    (images / "bolt" / "train" / "good" / "09.png").unlink()
    assert call().text.count("done before") == 1
