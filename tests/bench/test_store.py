import hashlib
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from anomalybench.bench.store import Outcome, Store, safe_name
from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice, Job, Record

ODD_NAMES = [
    "a/b",
    "..",
    ".",
    "../../up",
    "/etc",
    "",
    ".hidden",
    "Prüfling ø 名",
    "a\\b",
    "nul\0",
    "x" * 300,
    "~",
    "a\nb",
]


def job(category="bottle", method="cam", seed=0):
    pooled = Choice(name="pooled", params={"train": 0.6})
    return Job(
        method=Choice(name=method),
        version=1,
        dataset=Choice(name="folder"),
        category=category,
        protocol=pooled,
        seed=seed,
    )


def scores(n=5):
    return pd.DataFrame(
        {
            "path": [f"good/{i}.png" for i in range(n)],
            "split": ["calibration"] + ["test"] * (n - 1),
            "label": [0] * (n - 1) + [1],
            "defect": ["good"] * (n - 1) + ["hole"],
            "score": np.linspace(-1, 1, n) / 3,
        }
    )


def outcome(the_job=None, *, n=5, **changes):
    values = {"status": "ok", "threshold": 0.1 + 0.2, "metrics": {"auroc": 0.75, "precision": None}, **changes}
    maps = np.arange(n * 12, dtype=np.float16).reshape(n, 3, 4)
    return Outcome(Record(job=the_job or job(), **values), scores(n), maps)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_what_was_put_comes_back(store):
    written = store.put(outcome())
    assert store.get(job()) == written
    assert written.model_copy(update={"files": {}}) == outcome().record
    pd.testing.assert_frame_equal(store.scores(job()), scores())
    maps = store.maps(job())
    assert maps.dtype == np.float16
    assert np.array_equal(maps, outcome().maps)
    assert list(store.records()) == [written]


def test_a_record_alone_comes_back(store):
    failed = Outcome(Record(job=job(), status="failed", error="no such\nfile", traceback="..."))
    assert store.get(job()) is None
    assert store.put(failed) == store.get(job()) == failed.record
    assert store.maps(job()) is None


def test_an_empty_or_absent_results_folder_holds_nothing(store):
    assert list(store.records()) == []
    store.check_writable()
    assert list(store.records()) == []
    assert list(store.runs.iterdir()) == []


def test_every_job_has_its_own_place(store):
    jobs = [
        job(seed=seed, category=category, method=m) for seed in (0, 1) for category in "ab" for m in ("cam", "fcdd")
    ]
    for each in jobs:
        store.put(outcome(each))
    assert {record.job.id for record in store.records()} == {each.id for each in jobs}
    assert [store.get(each).job for each in jobs] == jobs


@pytest.mark.parametrize("name", ["record.json", "scores.parquet", "maps.npz"])
@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_file_cut_short_counts_as_not_there(store, name, length):
    store.put(outcome())
    file = store.folder(job()) / name
    file.write_bytes(file.read_bytes()[:length])
    assert store.get(job()) is None
    assert list(store.records()) == []
    file.unlink()
    assert store.get(job()) is None
    store.put(outcome())
    assert store.get(job()) is not None


def test_put_replaces_everything_that_was_there(store):
    store.put(outcome())
    second = Outcome(Record(job=job(), status="failed", error="out of memory"))
    store.put(second)
    assert store.get(job()).error == "out of memory"
    assert store.maps(job()) is None
    assert [file.name for file in store.folder(job()).parent.iterdir()] == [job().id]
    store.put(outcome(n=7))
    assert len(store.scores(job())) == len(store.maps(job())) == 7


def test_a_put_that_fails_leaves_the_earlier_results_and_no_rest(store):
    store.put(outcome())
    mixed = pd.DataFrame({"score": [1, "a", object()]})
    with pytest.raises(Exception, match=r"(?i)conver|object"):
        store.put(Outcome(outcome().record, mixed))
    assert store.get(job()).status == "ok"
    pd.testing.assert_frame_equal(store.scores(job()), scores())
    assert [file.name for file in store.folder(job()).parent.iterdir()] == [job().id]


def test_temporary_folders_left_over_are_not_results(store):
    record = store.put(outcome())
    folder = store.folder(job())
    shutil.copytree(folder, folder.with_name(f".{folder.name}.abc123"))
    folder.with_name(".empty").mkdir()
    (folder.parent / "stray.txt").write_text("stray")
    assert list(store.records()) == [record]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_stay_inside_the_runs_folder(store, name):
    odd = job(category=name, method=name)
    store.put(outcome(odd))
    folder = store.folder(odd)
    assert len(folder.resolve().relative_to(store.runs.resolve()).parts) == 4
    assert [record.job for record in store.records()] == [odd]
    assert [file.name for file in store.results.parent.iterdir()] == ["results"]


def test_odd_names_do_not_collide(store):
    for name in ODD_NAMES:
        store.put(outcome(job(category=name)))
    assert {record.job.category for record in store.records()} == set(ODD_NAMES)


def assert_safe(name):
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.startswith(".")
    assert len(name.encode()) <= 255


@given(a=st.text(max_size=150), b=st.text(max_size=150))
@example("a/b", "a%2Fb")
@example("", "%")
@example(".a", "%2Ea")
@example("~", "%7E")
@example("x" * 300, "x" * 301)
@example("é" * 50, "é" * 49 + "e")
def test_safe_names_are_safe_and_distinct(a, b):
    assume(a != b)
    for name in (a, b):
        assert_safe(safe_name(name))
        assert safe_name(name) == safe_name(name)
    assert safe_name(a) != safe_name(b)


def test_the_short_form_of_a_long_name_is_no_other_name():
    """Whatever the hash begins with, no short name is spelt like a shortened one."""
    for i in range(2000):
        long = "x" * 200 + str(i)
        digest = hashlib.sha256(long.encode()).hexdigest()[:12]
        short = "x" * 80 + bytes.fromhex(digest[:2]).decode("latin-1") + digest[2:]
        assert safe_name(long) != safe_name(short), short


@pytest.mark.parametrize("name", ["bottle", "metal_nut", "Teil 3 (links)", "a-b.c", "01+02"])
def test_plain_names_stay_readable(name):
    assert safe_name(name) == name


def test_a_results_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for results in (tmp_path / "file", tmp_path / "file" / "results"):
        store = Store(results)
        with pytest.raises(StoreError, match=r"cannot be written.*--results"):
            store.check_writable()
        with pytest.raises(StoreError, match="cannot be written"):
            store.put(outcome())
        assert store.get(job()) is None
        assert list(store.records()) == []


def test_a_read_only_results_folder_is_a_store_error(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    try:
        (locked / "probe").mkdir()
    except PermissionError:
        pass
    else:
        pytest.skip("this user (root) may write to read-only folders")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(locked).check_writable()
    with pytest.raises(StoreError, match="cannot be written"):
        Store(locked).put(outcome())
