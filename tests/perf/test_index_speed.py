"""Speed of the index: `pytest tests/perf --benchmark-only`. Ordinary runs only check that both sides agree."""

import os

import numpy as np
import pytest

from anomalybench.bench.store import Outcome, Store, index
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Measurement, Record

N = 500


@pytest.fixture
def many(tmp_path, monkeypatch, benchmark):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    store, toy, drawn = Store(tmp_path), Choice(name="toy"), {"auroc": np.ones(10)}
    for seed in range(20 if benchmark.disabled else N):
        job = Job(method=toy, version=1, dataset=toy, category="a", protocol=toy, seed=seed)
        metrics = {f"metric {i}": i / 7 for i in range(20)}
        measured = Measurement(version=1, rule="youden", threshold=0.5, metrics=metrics)
        record = Record(job=job, status="ok", measurements=(measured,), traceback="-" * 2000)
        store.put(Outcome(record, resamples=drawn))
    return store


def fresh(store):
    return store.records()


def absent(store):
    (store.runs / index.FILE).unlink()
    return store.records()


@pytest.mark.benchmark(group=f"{N} records")
@pytest.mark.parametrize("side", [fresh, absent])
def test_records(benchmark, many, side):
    first = many.records()
    assert benchmark.pedantic(side, (many,), rounds=1 if benchmark.disabled else 5) == first
