import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalybench.bench.settings import Settings, shard
from anomalybench.core.errors import UsageError
from anomalybench.core.job import Choice, Job


def job(seed):
    choice = Choice(name="x")
    return Job(method=choice, version=1, dataset=choice, category="c", protocol=choice, seed=seed)


@given(seeds=st.sets(st.integers(0, 10**6), max_size=60), n=st.integers(1, 12))
def test_shards_part_the_jobs(seeds, n):
    """Every job is in exactly one part, and in the same one whatever else is run."""
    jobs = [job(seed) for seed in sorted(seeds)]
    parts = [shard(jobs, f"{i}/{n}") for i in range(1, n + 1)]
    assert sorted(j.seed for part in parts for j in part) == sorted(seeds)
    for i, part in enumerate(parts, 1):
        assert shard(jobs[::2], f"{i}/{n}") == [j for j in part if j in jobs[::2]]
    assert shard(jobs, None) == jobs


def test_shards_are_alike_in_size():
    sizes = [len(shard([job(seed) for seed in range(1000)], f"{i}/4")) for i in range(1, 5)]
    assert min(sizes) > 200


@pytest.mark.parametrize("part", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.5/2"])
def test_parts_that_are_not_there_are_refused(part):
    with pytest.raises(UsageError, match="--shard"):
        shard([], part)


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [Settings(workers=n).threads for n in (1, 3, 8, 20)] == [8, 2, 1, 1]
    for text, threads in {"3": 3, "4,2": 4, "all": 1}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert Settings(workers=8).threads == threads
