"""Cost of an executor per job: `pytest tests/perf --benchmark-only`. Ordinary runs only check that all jobs end."""

import itertools

import pytest

from anomalybench.bench.request import Request
from anomalybench.bench.session import Session

WAYS = {"here": {}, "processes": {"workers": 2}, "dask": {"workers": 2, "cluster": "local"}}


def run(options, n, folders):
    """Jobs whose method does nothing but draw scores, on 16 small images."""
    what = {"methods": "random", "floors": False, "dataset": "synthetic", "categories": "weave", "seeds": range(n)}
    small = {"synthetic.n_normal": 8, "synthetic.n_anomalous": 8}
    session = Session(Request.of({**what, "params": small, "results": next(folders), **options}))
    return list(session.run(session.plan()))


@pytest.mark.benchmark(group="100 jobs of a method that does next to nothing, start of the workers included")
@pytest.mark.parametrize("way", WAYS)
def test_cost_per_job(benchmark, way, tmp_path):
    if benchmark.disabled and way != "here":
        pytest.skip("a benchmark: run with --benchmark-only")
    folders = (tmp_path / str(i) for i in itertools.count())
    n = 4 if benchmark.disabled else 100
    finished = benchmark.pedantic(run, (WAYS[way], n, folders), rounds=1)
    assert [item.record.status for item in finished] == ["ok"] * n
