"""A method that misbehaves on request, and small runs of it."""

import contextlib
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

PROBE = '''
"""Writes down each fit, and goes wrong where it is told to."""
import os, re, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
import numpy as np
from pydantic import Field
from anomalybench import Method, Prediction

@dataclass
class Probe(Method):
    """The score is the mean brightness times a number drawn in the fit."""
    learns_from = "normals"
    version = int(os.environ.get("PROBE_VERSION", "1"))
    pause: Annotated[float, Field(ge=0, description="seconds that a fit takes")] = 0.0
    faults: Annotated[str, Field(description="kind of fault by seed, as in 0=kill 2=loop")] = ""

    def fit(self, train, context):
        log = Path(os.environ["PROBE_LOG"])
        before = log.read_text().split() if log.exists() else []
        with log.open("a") as file:
            file.write(f"{context.seed}\\n")
        fault = dict(part.split("=") for part in self.faults.split()).get(str(context.seed))
        if fault == "kill" or before.count(str(context.seed)) < {"once": 1, "twice": 2}.get(fault, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        while fault == "loop":
            pass
        if fault == "regex":  # holds the interpreter's lock
            re.match("(a+)+b", "a" * 60)
        time.sleep(600 if fault == "sleep" else self.pause)
        self.factor_ = context.rng.normal(size=1)

    def predict(self, images):
        scores = np.array([image.mean() for image in images]) * self.factor_
        return Prediction(scores, scores[:, None, None] * np.ones((4, 4)))
'''
COSTS = ["fit_s", "predict_ms_per_image", "latency_p50_ms", "latency_p95_ms", "peak_memory_mb", "total_s"]
START = (
    # A shell that starts tests in the background may make them ignore SIGINT, and their children with them.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from anomalybench.cli import main; main()"
)


@pytest.fixture
def probe(make_plugin, monkeypatch, tmp_path):
    """The log of the method `probe`: one line per fit, the seed."""
    make_plugin(methods={"probe": PROBE})
    monkeypatch.setenv("PROBE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "log"


@pytest.fixture
def command():
    """Arguments of a run of `probe` with some seeds, in no time each."""

    def make(n, *more):
        small = ["--categories", "weave", "--set", "synthetic.n_normal=8", "--set", "synthetic.n_anomalous=8"]
        seeds = ",".join(map(str, range(n)))
        what = ["--methods", "probe", "--no-floors", "--dataset", "synthetic", "--name", "small", *small]
        return ["run", *what, "--seeds", seeds, *map(str, more)]

    return make


@pytest.fixture
def start():
    """Starts a command in a process group of its own, as a terminal does; what is left of it is killed in the end."""
    started = []

    def call(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield call
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def tables():
    """A run's table of jobs without what they cost."""
    return lambda results: pd.read_csv(results / "leaderboards" / "small_by_category.csv").drop(columns=COSTS)


@pytest.fixture
def fits(probe):
    """How often each seed has been fitted so far."""
    return lambda: pd.Series(probe.read_text().split()).astype(int).value_counts().to_dict() if probe.exists() else {}
