"""Results of version 0.1.0: taken over once, with the same numbers, and without a fit."""

import json
import shutil

import numpy as np
import pytest
from drawn import draw

from anomalybench.bench.store import Store
from anomalybench.bench.takeover import take_over
from anomalybench.core.errors import StoreError
from anomalybench.evaluate import map_codes

OPTIONS = ["--methods", "brightest", "--dataset", "mvtec_ad", "--categories", "bolt", "--no-floors",
           "--protocol", "pooled"]  # fmt: skip
OLD_COUNTS = ("images", "train_normal", "train_anomalous", "calibration", "test")


@pytest.fixture
def today(run, images, tmp_path):
    """A result of today and its store; every defect has a mask."""
    for i in range(5, 10):
        draw(images / "bolt" / "ground_truth" / "scratch" / f"{i:02d}_mask.png", 255)
    assert run(*OPTIONS, "--data", images).exit_code == 0
    store = Store(tmp_path / "results")
    (record,) = store.records()
    return store, record


def as_written_by_0_1_0(store, record, results, threshold=None):
    """The same result in the layout of 0.1.0: one measurement, maps in float16, another id."""
    folder = results / "runs" / "mvtec_ad" / "bolt" / "brightest" / "0123456789abcdef"
    folder.mkdir(parents=True)
    store.scores(record).drop(columns="group").to_parquet(folder / "scores.parquet", index=False)
    np.savez_compressed(folder / "maps.npz", maps=map_codes.decode(store.maps(record)).astype(np.float16))
    job = record.job
    plain = {name: {"name": c.name, "params": c.params} for name, c in
             [("method", job.method), ("dataset", job.dataset), ("protocol", job.protocol)]}  # fmt: skip
    (one,) = record.measurements
    old = {
        "job": plain | {"version": job.version, "category": job.category, "fold": "", "seed": job.seed, "explain": 0,
                        "threshold": threshold},
        "status": "ok", "error": None, "bad_input": False, "traceback": None, "supervision": "normals",
        "root": record.root, "fingerprint": record.fingerprint,
        "counts": {name: getattr(record.counts, name) for name in OLD_COUNTS},
        "costs": record.costs.model_dump(), "threshold": one.threshold, "threshold_rule": one.rule,
        "metrics": one.metrics, "pixel_metrics": {}, "accuracy_by_defect": one.accuracy_by_defect,
        "intervals": one.intervals, "sanity": one.sanity, "leaks": [], "notes": [], "environment": record.environment,
        "files": {name: (folder / name).stat().st_size for name in ("maps.npz", "scores.parquet")},
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(old))
    return folder


def test_a_result_of_0_1_0_is_taken_over_with_equal_metrics(today, tmp_path):
    store, record = today
    other = Store(tmp_path / "old")
    folder = as_written_by_0_1_0(store, record, other.results)
    (old,) = other.unreadable()
    assert (old.folder, old.schema, other.records()) == (folder, 1, [])
    taken = take_over(folder, other)
    assert taken.measurements == record.measurements
    assert taken.measurements[0].metrics["pixel_ap"] is not None
    assert (taken.id, taken.counts, taken.costs) == (record.id, record.counts, record.costs)
    assert taken.holds(record.job)
    assert other.records() == [taken]
    assert folder.is_dir()


def test_its_threshold_rule_is_kept(today, tmp_path):
    store, record = today
    folder = as_written_by_0_1_0(store, record, tmp_path / "old", {"name": "fpr", "params": {"q": 0.1}})
    (measured,) = take_over(folder, Store(tmp_path / "old")).measurements
    assert measured.name == "fpr(q=0.1)"


def test_it_replaces_no_result_of_today(today):
    store, record = today
    folder = as_written_by_0_1_0(store, record, store.results)
    assert take_over(folder, store) is None
    assert store.records() == [record]
    assert set(store.model(record).state) == {"mean_", "picture_"}


def test_the_command_measure_takes_it_over_once(today, tmp_path, cli):
    store, record = today
    as_written_by_0_1_0(store, record, tmp_path / "old")
    first, second = (cli("measure", "--results", tmp_path / "old") for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert "1 results of version 0.1.0 were taken over" in first.text
    assert "taken over" not in second.text
    assert "measured again: 1 results" in first.text


def test_it_is_refused_where_the_images_have_changed_or_it_is_damaged(today, tmp_path, images):
    store, record = today
    folder = as_written_by_0_1_0(store, record, tmp_path / "old")
    damaged = shutil.copytree(folder, folder.with_name("damaged"))
    (damaged / "scores.parquet").write_bytes(b"hello")
    with pytest.raises(StoreError, match="cannot be taken over"):
        take_over(damaged, Store(tmp_path / "old"))
    (images / "bolt" / "train" / "good" / "00.png").unlink()
    with pytest.raises(StoreError, match="not those of that run"):
        take_over(folder, Store(tmp_path / "old"))


def test_results_of_0_1_0_are_never_silently_ignored(today, cli, run, images, tmp_path):
    store, record = today
    as_written_by_0_1_0(store, record, tmp_path / "old")
    cure = f"anomalybench measure --results {tmp_path / 'old'}"
    for command in ("leaderboard", "report"):
        cli(command, "--results", tmp_path / "old").assert_refused("version 0.1.0", cure)
    again = cli("run", *OPTIONS, "--data", images, "--results", tmp_path / "old", "--dry-run")
    assert cure in again.text
    assert cli("measure", "--results", tmp_path / "old").exit_code == 0
    assert "1 to fit" not in cli("run", *OPTIONS, "--data", images, "--results", tmp_path / "old", "--dry-run").text
