import shutil

import made_records as made
import numpy as np
import pandas as pd
import pytest

from anomalybench.bench.store import Outcome, Store
from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Counts, Measurement, Record, results_of
from anomalybench.deploy.bundle import Bundle
from anomalybench.evaluate import map_codes
from anomalybench.evaluate.uncertainty import RESAMPLES

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


IMAGES = "0123456789abcdef"
OTHERS = "f" * 16
MEASURED = Measurement(version=1, rule="youden", threshold=0.1 + 0.2, metrics={"auroc": 0.75, "precision": None})


def scores(n=5):
    return pd.DataFrame(
        {
            "path": [f"good/{i}.png" for i in range(n)],
            "split": ["calibration"] + ["test"] * (n - 1),
            "label": [0] * (n - 1) + [1],
            "defect": ["good"] * (n - 1) + ["hole"],
            "mask": [None] * (n - 1) + ["hole/mask.png"],
            "group": [None] * n,
            "score": np.linspace(-1, 1, n) / 3,
        }
    )


def outcome(the_job=None, *, n=5, **changes):
    values = {
        "job": the_job or job(), "status": "ok", "fingerprint": IMAGES, "measurements": (MEASURED,),
        "counts": Counts(calibration=1, test=n - 1), "map_size": (3, 4), **changes,
    }  # fmt: skip
    maps = map_codes.encode(np.arange(n * 12, dtype=np.float32).reshape(n, 3, 4) / 3)
    drawn = {"auroc": np.linspace(0, 1, RESAMPLES)}
    record = Record(**values)
    return Outcome(record, scores(n), maps, drawn, Bundle(made.card(record), {"mean_": np.arange(30.0)}))


def failed(**changes):
    values = {"job": job(), "status": "failed", "error": "out of memory", "fingerprint": IMAGES, **changes}
    return Outcome(Record(**values))


def cells(table):
    """Every column as a list, None for what is missing."""
    return {name: [None if pd.isna(cell) else cell for cell in table[name]] for name in table}


def place(store, one):
    """The folder into which an outcome was put."""
    record = store.put(one)
    return store.folder(record.job, record.fingerprint)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_what_was_put_comes_back(store):
    written = store.put(outcome())
    assert store.get(job(), IMAGES) == written
    assert written.model_copy(update={"files": {}}) == outcome().record
    assert cells(store.scores(written)) == cells(scores())
    maps = store.maps(written)
    assert np.array_equal(map_codes.decode(maps), map_codes.decode(outcome().maps))
    assert np.array_equal(store.model(written).state["mean_"], np.arange(30.0))
    assert store.resamples(written)["auroc"] == pytest.approx(np.linspace(0, 1, RESAMPLES))
    assert list(store.records()) == [written]


def test_a_record_alone_comes_back(store):
    lost = failed(error="no such\nfile", traceback="...")
    assert store.get(job(), IMAGES) is None
    written = store.put(lost)
    assert written == store.get(job(), IMAGES) == lost.record
    assert store.maps(written) is None
    assert store.model(written) is None
    assert store.resamples(written) == {}


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
    assert [store.get(each, IMAGES).job for each in jobs] == jobs


@pytest.mark.parametrize("name", ["record.json", "scores.parquet", "maps.npz", "weights.safetensors", "resamples.npz"])
@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_file_cut_short_counts_as_not_there(store, name, length):
    file = place(store, outcome()) / name
    file.write_bytes(file.read_bytes()[:length])
    assert store.get(job(), IMAGES) is None
    assert list(store.records()) == []
    assert [one.folder for one in store.unreadable()] == [file.parent]
    file.unlink()
    assert store.get(job(), IMAGES) is None
    store.put(outcome())
    assert store.get(job(), IMAGES) is not None


def test_put_replaces_everything_that_was_there(store):
    folder = place(store, outcome())
    again = store.put(outcome(n=7))
    assert len(store.scores(again)) == len(store.maps(again).codes) == 7
    skipped = store.put(Outcome(Record(job=job(), status="skipped", error="no labels", fingerprint=IMAGES)))
    assert [file.name for file in folder.iterdir()] == ["record.json"]
    assert store.records() == [skipped]
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_what_failed_never_replaces_a_result_but_another_failure(store):
    store.put(failed())
    assert store.put(failed(error="another")) == store.get(job(), IMAGES)
    written = store.put(outcome())
    assert store.put(failed()).status == "failed"
    assert store.get(job(), IMAGES) == written
    assert len(store.scores(written)) == 5


def test_the_same_job_on_other_images_lies_beside_it(store):
    one, other = (store.put(outcome(fingerprint=images)) for images in (IMAGES, OTHERS))
    store.put(failed(fingerprint=OTHERS))
    assert one.job.id == other.job.id
    assert one.id != other.id
    assert (store.get(job(), IMAGES), store.get(job(), OTHERS)) == (one, other)
    assert sorted(record.id for record in store.records()) == sorted([one.id, other.id])


def test_the_newest_record_of_a_job_is_found_whatever_the_images(store):
    for images, day in ((IMAGES, "02"), (OTHERS, "01")):
        store.put(outcome(fingerprint=images, environment={"date": f"2026-01-{day}"}))
    assert store.newest(job()).fingerprint == IMAGES
    assert store.newest(job(seed=3)) is None


def test_new_measurements_leave_scores_maps_and_state_as_they_were(store):
    written = store.put(outcome())
    fpr = MEASURED.model_copy(update={"choice": Choice(name="fpr"), "threshold": 0.9})
    both = written.model_copy(update={"measurements": (MEASURED, fpr)})
    measured = store.measured(both, {"auroc": np.zeros(RESAMPLES)})
    assert store.records() == [measured]
    assert [result.id for result in results_of(measured)] == [measured.id, f"{measured.id}@fpr"]
    assert cells(store.scores(measured)) == cells(scores())
    assert store.maps(measured).codes.shape == (5, 3, 4)
    assert set(store.model(measured).state) == {"mean_"}
    assert not store.resamples(measured)["auroc"].any()


def test_resamples_are_found_by_result_and_metric(store):
    record = store.put(outcome())
    (result,) = results_of(record)
    for _ in range(2):  # from the file, then through the index
        drawn = store.resample([result])
        assert drawn(result.id, "auroc") == pytest.approx(np.linspace(0, 1, RESAMPLES))
        assert drawn(result.id, "pixel_auroc") is None
        assert drawn("another", "auroc") is None
        store.records()


def test_a_put_that_fails_leaves_the_earlier_results_and_no_rest(store):
    written = store.put(outcome())
    mixed = pd.DataFrame({"score": [1, "a", object()]})
    with pytest.raises(Exception, match=r"(?i)conver|object"):
        store.put(Outcome(outcome().record, mixed))
    assert store.get(job(), IMAGES) == written
    assert cells(store.scores(written)) == cells(scores())
    folder = store.folder(job(), IMAGES)
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


def test_a_link_in_place_of_the_folder_is_refused_and_what_it_points_to_stays(store, tmp_path):
    folder = place(store, outcome())
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        store.put(outcome(n=7))
    assert store.get(job(), IMAGES).counts.test == 4
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_temporary_folders_left_over_are_not_results(store):
    record = store.put(outcome())
    folder = store.folder(job(), IMAGES)
    shutil.copytree(folder, folder.with_name(f".{folder.name}.abc123"))
    folder.with_name(".empty").mkdir()
    (folder.parent / "stray.txt").write_text("stray")
    assert list(store.records()) == [record]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_stay_inside_the_runs_folder(store, name):
    odd = job(category=name, method=name)
    store.put(outcome(odd))
    folder = store.folder(odd, IMAGES)
    assert len(folder.resolve().relative_to(store.runs.resolve()).parts) == 4
    assert [record.job for record in store.records()] == [odd]
    assert [file.name for file in store.results.parent.iterdir()] == ["results"]


def test_odd_names_do_not_collide(store):
    for name in ODD_NAMES:
        store.put(outcome(job(category=name)))
    assert {record.job.category for record in store.records()} == set(ODD_NAMES)


def test_a_results_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for results in (tmp_path / "file", tmp_path / "file" / "results"):
        store = Store(results)
        with pytest.raises(StoreError, match=r"cannot be written.*--results"):
            store.check_writable()
        with pytest.raises(StoreError, match="cannot be written"):
            store.put(outcome())
        assert store.get(job(), IMAGES) is None
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
