import math
from pathlib import Path

import numpy as np
import pytest

from anomalybench.bench import measure
from anomalybench.bench.store import Store
from anomalybench.bench.suite import Table
from anomalybench.core.dataset import Item
from anomalybench.core.errors import DataError
from anomalybench.core.job import Choice, Job, Record
from anomalybench.core.method import Prediction
from anomalybench.core.split import Split
from anomalybench.evaluate.image import auroc
from anomalybench.evaluate.thresholds import F1, Fixed, NormalQuantile, Youden

PARTS = ("train", "calibration", "test")


def items(part, n=20, start=0, group=None):
    """n normal and n defective images."""
    return tuple(
        Item(f"{part}/{kind}/{i:03d}.png", "bolt", label, kind, group=group and f"{group} {kind} {i}")
        for label, kind in enumerate(("good", "hole"))
        for i in range(start, start + n)
    )


def job(method="cam", seed=0, threshold=None, category="bolt"):
    choices = {"dataset": Choice(name="toy"), "protocol": Choice(name="pooled")}
    return Job(method=Choice(name=method), version=1, category=category, seed=seed, threshold=threshold, **choices)


def measured(parts=None, scores=None, *, hashes=None, the_job=None, rule=None):
    """The outcome of scores for calibration and test images; the hash of a file is its path unless `hashes` says."""
    split = Split(**({part: items(part) for part in PARTS} if parts is None else parts))
    table = Table(Path(), [*split.train, *split.calibration, *split.test], {})
    table.hashes.update({item.path: item.path for item in table.items} | (hashes or {}))
    shown = (*split.calibration, *split.test)
    made = np.array([item.label * 2.0 for item in shown]) + np.random.default_rng(0).normal(size=len(shown))
    base = Record(job=the_job or job(), status="failed", notes=["from before"])
    return measure.measure(base, table, split, rule or Youden(), Prediction(made if scores is None else scores))


def test_a_sane_job_has_intervals_around_its_metrics_and_no_new_notes():
    outcome = measured()
    record = outcome.record
    assert (record.status, record.notes, record.leaks) == ("ok", ["from before"], [])
    assert set(record.intervals) == {"auroc", "average_precision", "balanced_accuracy"}
    for name, (low, high) in record.intervals.items():
        assert low < record.metrics[name] < high <= 1
        assert 0.02 < high - low < 0.5
        assert record.metrics[name] == pytest.approx(np.nanmean(outcome.resamples[name]), abs=0.03)
    test = outcome.scores[outcome.scores["split"] == "test"]
    assert record.metrics["auroc"] == pytest.approx(auroc(test["score"], test["label"]))
    assert record.sanity["shuffled_auroc"] == pytest.approx(0.5, abs=0.03)
    assert record.sanity["permutation_p"] == pytest.approx(1 / 201)
    assert (record.counts.images, record.counts.calibration, record.counts.test) == (120, 40, 40)


def test_the_threshold_comes_from_calibration_alone():
    first = measured()
    changed = first.scores["score"].to_numpy() + 100 * (first.scores["split"] == "test").to_numpy()
    assert measured(scores=changed).record.threshold == first.record.threshold


def test_a_perfect_method_has_an_interval_below_1_that_more_images_shorten():
    lows = []
    for n in (5, 20):
        parts = {part: items(part, n) for part in PARTS}
        perfect = np.array([float(item.label) for part in PARTS[1:] for item in parts[part]])
        record = measured(parts, perfect).record
        assert record.metrics["auroc"] == record.intervals["auroc"][1] == 1
        lows.append(record.intervals["auroc"][0])
    assert 0.4 < lows[0] < lows[1] < 1


def test_turned_scores_are_noted():
    said = measured(scores=-measured().scores["score"].to_numpy()).record.notes[1:]
    assert len(said) == 1
    assert "inverted" in said[0]


def test_a_shifted_calibration_is_noted():
    scores = measured().scores
    shifted = scores["score"] + 5 * ((scores["split"] == "calibration") & (scores["label"] == 0))
    record = measured(scores=shifted.to_numpy()).record
    assert record.sanity["ks_normal_p"] < 0.01 < record.sanity["ks_anomalous_p"]
    assert len(record.notes) == 2
    assert "normal calibration and test images differ" in record.notes[1]


def test_equal_images_on_two_sides_are_leaks_and_noted():
    copies = {"train/good/003.png": "same", "test/good/005.png": "same", "test/hole/001.png": "same"}
    beside = {"train/good/007.png": "other", "train/good/008.png": "other"}
    record = measured(hashes=copies | beside).record
    assert record.leaks == [["test/good/005.png", "test/hole/001.png", "train/good/003.png"]]
    assert len(record.notes) == 2
    assert "several sides of the split" in record.notes[1]
    assert "test/good/005.png" in record.notes[1]
    between = {"calibration/good/003.png": "same", "test/good/005.png": "same"}
    assert len(measured(hashes=between).record.leaks) == 1


def test_an_image_counts_the_same_for_every_method_and_seed():
    first = measured()
    for other in (job(method="fcdd"), job(seed=7)):
        again = measured(the_job=other)
        for name, values in first.resamples.items():
            assert np.array_equal(again.resamples[name], values, equal_nan=True), name
    elsewhere = measured(the_job=job(category="nut"))
    assert not np.array_equal(elsewhere.resamples["auroc"], first.resamples["auroc"], equal_nan=True)


def test_an_image_counts_the_same_whatever_else_is_tested_with_it():
    """Where all defects are found, balanced accuracy moves with the normal images alone, which both tests share."""
    first = {part: items(part) for part in PARTS}
    other = first | {"test": (*first["test"][:20], *items("test", 30, start=70)[30:])}
    normal = np.random.default_rng(2).normal(size=20)
    found = [
        measured(parts, np.r_[np.zeros(40), normal, np.full(n, 9.0)], rule=Fixed(t=0.0), the_job=job(seed=n))
        for parts, n in ((first, 20), (other, 30))
    ]
    one, two = (outcome.resamples["balanced_accuracy"] for outcome in found)
    assert one == pytest.approx(two, abs=1e-12)
    assert one.std() > 0.01


def test_shots_of_one_object_are_resampled_together():
    """Four shots of each of five objects say no more than one shot of each."""
    single = {part: items(part, 5) for part in PARTS}
    scores = np.random.default_rng(1).normal(size=20) + np.tile(np.repeat([0, 1.0], 5), 2)
    shots, repeated = {}, []
    for part in PARTS:
        shots[part] = tuple(
            Item(item.path.replace(".", f"_{k}."), "bolt", item.label, item.defect, group=item.path)
            for item in single[part]
            for k in range(4)
        )
    repeated = np.repeat(scores, 4)
    alone = {p: tuple(Item(i.path, "bolt", i.label, i.defect, group=i.path) for i in single[p]) for p in PARTS}
    together, once = measured(shots, repeated), measured(alone, scores)
    for name in ("auroc", "average_precision", "balanced_accuracy"):
        assert together.resamples[name] == pytest.approx(once.resamples[name], nan_ok=True), name
        assert together.record.intervals[name] == pytest.approx(once.record.intervals[name]), name
    loose = measured({p: tuple(Item(i.path, "bolt", i.label, i.defect) for i in shots[p]) for p in PARTS}, repeated)
    assert np.nanstd(loose.resamples["auroc"]) < 0.7 * np.nanstd(together.resamples["auroc"])


def test_a_part_without_a_class_is_refused_and_rules_get_what_they_need():
    normal = tuple(item for item in items("calibration") if item.label == 0)
    whole = Split(items("train"), items("calibration"), items("test"))
    one_class = Split(items("train"), normal, items("test"))
    with pytest.raises(DataError, match="no anomalous images"):
        measure.check_test(job(), Split((), (), tuple(i for i in items("test") if i.label == 0)))
    with pytest.raises(DataError, match="no normal images"):
        measure.check_test(job(), Split((), (), tuple(i for i in items("test") if i.label == 1)))
    measure.check_test(job(), whole)
    assert isinstance(measure.threshold_rule(job(), whole), Youden)
    assert isinstance(measure.threshold_rule(job(), one_class), NormalQuantile)
    assert isinstance(measure.threshold_rule(job(threshold=Choice(name="f1")), whole), F1)
    with pytest.raises(DataError, match="holds no defects, which f1 needs"):
        measure.threshold_rule(job(threshold=Choice(name="f1")), one_class)
    nothing = Split(items("train"), (), items("test"))
    with pytest.raises(DataError, match="holds no normal images"):
        measure.threshold_rule(job(), nothing)
    fixed = Choice(name="fixed", params={"t": 0.5})
    assert isinstance(measure.threshold_rule(job(threshold=fixed), nothing), Fixed)


def test_values_that_are_not_known_have_no_interval():
    outcome = measured(rule=Fixed(t=100.0))
    record = outcome.record
    assert record.metrics["precision"] is None
    assert record.metrics["balanced_accuracy"] == 0.5
    assert not any(math.isnan(v) for both in record.intervals.values() for v in both)


COPIES = ["--methods", "brightest", "--dataset", "mvtec_ad", "--categories", "bolt", "--protocol", "pooled"]


@pytest.fixture
def copied(images):
    """Every good image of a category twice, under different names."""
    for file in sorted((images / "bolt").glob("*/good/*.png")):
        file.with_name(f"{file.stem}_copy.png").write_bytes(file.read_bytes())
    return images


def record_of(run, tmp_path, *arguments):
    assert run(*COPIES, "--data", *arguments).exit_code == 0
    (record,) = Store(tmp_path / "results").records()
    return record


def test_copies_in_a_folder_are_found(run, copied, tmp_path):
    record = record_of(run, tmp_path, copied)
    assert record.leaks
    for pair in record.leaks:
        assert len(pair) == 2
        assert pair[0].replace("_copy", "") == pair[1].replace("_copy", "")
    assert any("several sides" in note for note in record.notes)


def test_copies_that_are_tied_together_are_no_leaks(run, copied, tmp_path):
    record = record_of(run, tmp_path, copied, "--group-by", r"(good|scratch)/(\d\d)")
    assert record.leaks == []
    assert not any("several sides" in note for note in record.notes)
