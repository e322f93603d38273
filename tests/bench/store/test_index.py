import multiprocessing
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anomalybench.bench.store import Outcome, Store, index
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Measurement, Record, results_of
from anomalybench.evaluate.uncertainty import RESAMPLES


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Store(tmp_path / "results")


def job(seed, category="a b", method="cam"):
    toy = Choice(name="toy")
    return Job(method=Choice(name=method), version=1, dataset=toy, category=category, protocol=toy, seed=seed)


def put(store, seed, *, threshold=0.5, **where):
    drawn = {"auroc": np.full(RESAMPLES, threshold)}
    measured = Measurement(version=1, rule="fixed", threshold=threshold)
    store.put(Outcome(Record(job=job(seed, **where), status="ok", measurements=(measured,)), resamples=drawn))


def thresholds(store):
    return [record.measurements[0].threshold for record in store.records()]


def unindexed(store):
    """The records of a copy that has no index."""
    copy = store.results.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(store.results, copy, ignore=shutil.ignore_patterns("*index.parquet*"))
    return Store(copy).records()


@pytest.mark.parametrize("trial", range(4))
def test_records_through_the_index_are_those_of_the_files_whatever_happens_to_them(store, trial):
    rng = np.random.default_rng(trial)
    for _ in range(12):
        for _ in range(rng.integers(1, 4)):
            seed, change = int(rng.integers(8)), rng.integers(5)
            folder = store.folder(job(seed), "")
            if change < 2 or not folder.exists():
                put(store, seed, threshold=float(rng.integers(1, 9)))
            elif change == 2:
                shutil.rmtree(folder)
            else:
                file = folder / ("record.json" if change == 3 else "resamples.npz")
                file.write_bytes(file.read_bytes()[: rng.integers(50)])
        assert store.records() == unindexed(store)


def test_a_record_of_the_same_size_is_noticed_even_if_its_time_was_set_back(store):
    put(store, 0, threshold=0.5)
    assert thresholds(store) == [0.5]
    file = store.folder(job(0), "") / "record.json"
    before = file.stat()
    put(store, 0, threshold=0.6)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert thresholds(store) == [0.6]


def test_the_index_is_used_and_written_only_when_something_changed(store, monkeypatch):
    for seed in range(3):
        put(store, seed)
    first, file = store.records(), store.runs / index.FILE
    written = file.stat().st_ino, file.stat().st_mtime_ns
    monkeypatch.setattr(index, "beginning", lambda file: pytest.fail(f"{file} was opened"))
    assert store.records() == first
    drawn, results = store.resample(results_of(first[0])), results_of(first[0])
    assert drawn(results[0].id, "auroc").tolist() == [0.5] * RESAMPLES
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == written
    monkeypatch.undo()
    put(store, 3)
    assert len(store.records()) == 4
    assert file.stat().st_ino != written[0]


def test_an_index_with_any_byte_changed_or_cut_short_changes_no_record(store):
    for seed in range(3):
        put(store, seed)
    first, file = store.records(), store.runs / index.FILE
    good, rng = file.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(len(good), size=150):
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        file.write_bytes(bad if rng.random() < 0.8 else bad[:place])
        assert store.records() == first


@pytest.mark.parametrize("name", ["other version", "foreign"])
def test_an_index_of_another_kind_is_replaced(store, name):
    put(store, 0)
    first, file = store.records(), store.runs / index.FILE
    good = file.read_bytes()
    table = pq.read_table(file)
    other = table.replace_schema_metadata({"anomalybench index": "1"})
    pq.write_table(other if name == "other version" else pa.table({"x": [1]}), file)
    assert store.records() == first
    assert file.read_bytes() == good


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_an_index_that_cannot_be_written_does_no_harm(store, monkeypatch, error):
    put(store, 0)

    def refused(*arguments, **options):
        raise error(28, "refused")

    monkeypatch.setattr(index.pq, "write_table", refused)
    assert len(store.records()) == 1
    assert [file.name for file in store.runs.iterdir()] == ["toy"]


def read_often(results, n):
    for _ in range(30):
        (results / "runs" / index.FILE).unlink(missing_ok=True)
        assert len(Store(results).records()) == n


def test_processes_that_write_it_at_once_do_no_harm(store):
    for seed in range(5):
        put(store, seed)
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=read_often, args=(store.results, 5)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert [file.name for file in store.runs.glob("*.parquet*")] in ([], [index.FILE])
    assert not list(store.runs.glob(".*"))


def test_a_store_without_records_gets_no_index(store):
    assert store.records() == []
    store.check_writable()
    assert store.records() == []
    assert list(store.runs.iterdir()) == []
