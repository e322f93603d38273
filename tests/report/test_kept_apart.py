"""What must not be mixed: other images of one name, own folders, and several measurements of one fit."""

import made_records as made
import numpy as np
import pytest
from read_page import data_of, written

from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice
from anomalybench.core.record import Counts
from anomalybench.report import comparison, leaderboard, naming, verdicts

OLDER = {"date": "2025-01-01T00:00:00.000+00:00"}


@pytest.fixture
def other(store, put):
    """Two methods on today's images, one of them and a third on older ones of the same name."""
    put(made.job("cam"))
    put(made.job("fcdd"), seed=1)
    put(made.job("cam"), fingerprint="1a2b3c4d5e6f", environment=OLDER, seed=2)
    put(made.job("vae"), fingerprint="1a2b3c4d5e6f", environment=OLDER, seed=3)
    return store


def test_results_on_other_images_are_rows_of_their_own(other):
    results = made.results(other)
    table = leaderboard.build(results, other.resample(results)).leaderboard
    found = {(row["dataset"], row["method"]) for row in table.to_dict("records")}
    old = "toy (images 1a2b3c4d)"
    assert found == {("toy", "cam"), ("toy", "fcdd"), (old, "cam"), (old, "vae")}
    assert "(images 1a2b3c4d)" in naming.remark_on_images(results)
    data = data_of(written(list(other.records()), other))
    assert {(row["dataset"], row["method"]) for row in data["rows"]} == found
    assert {job["dataset"] for job in data["jobs"]} == {"toy", old}


def test_a_job_that_failed_before_its_images_were_known_is_a_row_of_its_category(store, put):
    put(made.job("cam"))
    store.put(made.Outcome(made.lost(made.job("fcdd"))))
    assert set(leaderboard.build(made.results(store)).by_category["dataset"]) == {"toy"}


def test_compare_never_mixes_images_and_says_which(other):
    found = {one.dataset: one for one in verdicts.comparisons(other, None, None, [], "auroc")}
    assert {name: [sorted((p.a, p.b)) for p in one.pairs] for name, one in found.items()} == {
        "toy": [["cam", "fcdd"]], "toy (images 1a2b3c4d)": [["cam", "vae"]],
    }  # fmt: skip


def test_compare_of_methods_that_share_no_images_is_refused(other):
    with pytest.raises(StoreError, match="of two methods on the same images"):
        verdicts.comparisons(other, None, None, ["fcdd", "vae"], "auroc")


def test_own_folders_are_rows_under_their_names(store, put):
    for name, fingerprint in (("lineA", "a" * 16), ("lineB", "b" * 16)):
        job = made.job("cam").model_copy(
            update={"dataset": Choice(name="folder", params={"name": name}, chosen=("name",))}
        )
        put(job, fingerprint=fingerprint)
    results = made.results(store)
    table = leaderboard.build(results, store.resample(results)).leaderboard
    assert sorted(table["dataset"]) == ["lineA", "lineB"]
    assert set(table["n_categories"]) == {1}


def test_a_dataset_read_from_several_folders_has_rows_for_each(store, put, tmp_path):
    """The same images in a second place, as on another machine, are no other data."""
    for i, (folder, fingerprint) in enumerate((("lineA", "a" * 16), ("lineB", "b" * 16), ("moved", "b" * 16))):
        put(made.job("cam" if i < 2 else "fcdd"), root=str(tmp_path / folder), fingerprint=fingerprint, seed=i)
    table = leaderboard.build(made.results(store)).leaderboard
    found = {(row["dataset"], row["method"]) for row in table.to_dict("records")}
    assert found == {("toy (lineA)", "cam"), ("toy (lineB)", "cam"), ("toy (lineB)", "fcdd")}
    assert naming.remark_on_images(made.results(store)) is None


@pytest.fixture
def twice(store, put):
    """Two methods, each measured with the default threshold and with `fpr`."""
    for i, name in enumerate(("cam", "fcdd")):
        record = put(made.job(name), seed=i)
        drawn = store.resamples(record)
        first = record.measurements[0]
        changed = {**first.metrics, "balanced_accuracy": first.metrics["balanced_accuracy"] - 0.1}
        second = first.model_copy(
            update={"choice": Choice(name="fpr"), "rule": "fpr(q=0.05)", "threshold": 9.0, "metrics": changed}
        )
        both = record.model_copy(update={"measurements": (first, second)})
        rng = np.random.default_rng(i)
        own = {"balanced_accuracy@fpr": rng.normal(0.6, 0.2, drawn["balanced_accuracy"].size)}
        store.measured(both, {**drawn, **own})
    return store


def test_several_measurements_of_one_fit_are_rows_of_their_own(twice):
    results = made.results(twice)
    assert len(results) == 4
    tables = leaderboard.build(results, twice.resample(results))
    assert {job.partition("@")[2] for job in tables.by_category["job"]} == {"", "fpr"}
    assert set(tables.leaderboard["protocol"]) == {"pooled, threshold default", "pooled, threshold fpr"}
    data = data_of(written(twice.records(), twice))
    assert sorted(job["id"].partition("@")[2] for job in data["jobs"]) == ["", "", "fpr", "fpr"]
    assert {job["threshold"] for job in data["jobs"] if job["id"].endswith("@fpr")} == {9.0}
    assert len(data["images"]) == 16, "the images are the same"


def test_resamples_are_found_under_either_name(twice):
    """What depends on the threshold has resamples of its own; the rest is shared."""
    results = made.results(twice)
    resamples = twice.resample(results)
    by_name = {result.id: result for result in results}
    for name in by_name:
        base = name.partition("@")[0]
        assert np.array_equal(resamples(name, "auroc"), resamples(base, "auroc"), equal_nan=True)
        if "@" in name:
            assert not np.array_equal(resamples(name, "balanced_accuracy"), resamples(base, "balanced_accuracy"))
    table = leaderboard.build(results, resamples).leaderboard
    assert table["auroc_low"].notna().all()
    assert table["tied_with_best"].notna().all()


def test_what_is_not_ranked_stands_last_with_the_reason(store, tmp_path):
    few = made.draw_images(tmp_path / "data", "bolt", 40)
    few = few[(few["label"] == 0) | (few["path"] == few.loc[few["label"] == 1, "path"].iloc[0])].reset_index(drop=True)
    for i, name in enumerate(("cam", "random")):
        made.put(store, tmp_path / "data", made.job(name), few, seed=i, gap=9)
    results = made.results(store)
    table = leaderboard.build(results, store.resample(results)).leaderboard
    assert table.columns[-1] == "not_ranked"
    assert set(table["not_ranked"]) == {"only 1 defective test image: says nothing"}
    assert table["tied_with_best"].isna().all()
    rows = data_of(written(store.records(), store))["rows"]
    assert {row["not_ranked"] for row in rows} == set(table["not_ranked"])


def test_views_of_one_part_are_one_object(store, put):
    """Ten images of one defective part are one defective object: too few to rank by."""
    counts = {"images": 48, "test": 16, "test_normal": 8, "test_anomalous": 1}
    for i, name in enumerate(("cam", "random")):
        put(made.job(name), seed=i, counts=Counts(**counts))
    results = made.results(store)
    table = leaderboard.build(results, store.resample(results)).leaderboard
    assert comparison.MINIMUM > 1
    assert set(table["not_ranked"]) == {"only 1 defective test image: says nothing"}
