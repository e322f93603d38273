"""Cost of an executor per job: `pytest tests/perf --benchmark-only`. Ordinary runs only check that all jobs end."""

import itertools

import pytest

from anomalybench.bench import executors
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.bench.suite import Request, load

WAYS = {"here": Settings(), "processes": Settings(workers=2), "dask": Settings(workers=2, cluster="local")}


def run(settings, jobs, folders):
    store = Store(next(folders))
    store.check_writable()
    return list(executors.run(executors.plan(jobs, store, None, force=False), store, settings))


def jobs(n):
    """Jobs whose method does nothing but draw scores, on 16 small images."""
    small = {"synthetic.n_normal": 8, "synthetic.n_anomalous": 8}
    return load(
        Request(methods=["random"], dataset="synthetic", categories=["weave"], seeds=range(n), params=small)
    ).jobs


@pytest.mark.benchmark(group="100 jobs of a method that does next to nothing, start of the workers included")
@pytest.mark.parametrize("way", WAYS)
def test_cost_per_job(benchmark, way, tmp_path):
    if benchmark.disabled and way != "here":
        pytest.skip("a benchmark: run with --benchmark-only")
    folders = (tmp_path / str(i) for i in itertools.count())
    n = 4 if benchmark.disabled else 100
    finished = benchmark.pedantic(run, (WAYS[way], jobs(n), folders), rounds=1)
    assert [item.record.status for item in finished] == ["ok"] * n
