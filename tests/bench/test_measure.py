import math
from pathlib import Path

import numpy as np
import pytest

from anomalybench.bench import measure, runner
from anomalybench.bench.measure import Scored
from anomalybench.bench.store import Store
from anomalybench.core.dataset import Item
from anomalybench.core.errors import DataError
from anomalybench.core.job import Choice, Job
from anomalybench.core.method import Prediction
from anomalybench.core.protocol import Split
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


YOUDEN = Choice(name="youden")


def job(method="cam", seed=0, category="bolt"):
    choices = {"dataset": Choice(name="toy"), "protocol": Choice(name="pooled")}
    return Job(method=Choice(name=method), version=1, category=category, seed=seed, **choices)


def fixed(t):
    return Choice(name="fixed", params={"t": t}, chosen=("t",))


def table(parts=None, scores=None):
    """Scores of calibration and test images."""
    split = Split(**({part: items(part) for part in PARTS} if parts is None else parts))
    shown = (*split.calibration, *split.test)
    made = np.array([item.label * 2.0 for item in shown]) + np.random.default_rng(0).normal(size=len(shown))
    return measure.score_table(split, Prediction(made if scores is None else scores))


def measured(parts=None, scores=None, *, the_job=None, rule=YOUDEN):
    return measure.measure(Scored(the_job or job(), Path(), table(parts, scores), None), rule)


def test_a_sane_job_has_intervals_around_its_metrics_and_no_notes():
    found = measured()
    one = found.measurement
    assert one.notes == ()
    assert {"auroc", "average_precision", "balanced_accuracy"} <= set(one.intervals)
    for name in ("auroc", "average_precision", "balanced_accuracy"):
        low, high = one.intervals[name]
        assert low < one.metrics[name] < high <= 1
        assert 0.02 < high - low < 0.5
        assert one.metrics[name] == pytest.approx(np.nanmean(found.resamples[name]), abs=0.03)
    test = table().loc[lambda rows: rows["split"] == "test"]
    assert one.metrics["auroc"] == pytest.approx(auroc(test["score"], test["label"]))
    assert one.sanity["shuffled_auroc"] == pytest.approx(0.5, abs=0.03)
    assert one.sanity["permutation_p"] == pytest.approx(1 / 201)


def test_the_same_scores_give_the_same_measurement():
    assert measured().measurement == measured().measurement


def test_the_threshold_comes_from_calibration_alone():
    scores = table()
    changed = scores["score"].to_numpy() + 100 * (scores["split"] == "test").to_numpy()
    assert measured(scores=changed).measurement.threshold == measured().measurement.threshold


def test_a_perfect_method_has_an_interval_below_1_that_more_images_shorten():
    lows = []
    for n in (5, 20):
        parts = {part: items(part, n) for part in PARTS}
        perfect = np.array([float(item.label) for part in PARTS[1:] for item in parts[part]])
        one = measured(parts, perfect).measurement
        assert one.metrics["auroc"] == one.intervals["auroc"][1] == 1
        lows.append(one.intervals["auroc"][0])
    assert 0.4 < lows[0] < lows[1] < 1


def test_turned_scores_are_noted():
    (said,) = measured(scores=-table()["score"].to_numpy()).measurement.notes
    assert "inverted" in said


def test_a_shifted_calibration_is_noted():
    scores = table()
    shifted = scores["score"] + 5 * ((scores["split"] == "calibration") & (scores["label"] == 0))
    one = measured(scores=shifted.to_numpy()).measurement
    assert one.sanity["ks_normal_p"] < 0.01 < one.sanity["ks_anomalous_p"]
    assert any("normal calibration and test images differ" in note for note in one.notes)


def test_equal_images_on_two_sides_are_leaks():
    split = Split(*(items(part) for part in PARTS))
    paths = {item.path: item.path for part in PARTS for item in items(part)}
    copies = {"train/good/003.png": "same", "test/good/005.png": "same", "test/hole/001.png": "same"}
    beside = {"train/good/007.png": "other", "train/good/008.png": "other"}
    assert runner.leaks(split, paths) == ()
    assert runner.leaks(split, paths | copies | beside) == (
        ("test/good/005.png", "test/hole/001.png", "train/good/003.png"),
    )
    between = {"calibration/good/003.png": "same", "test/good/005.png": "same"}
    assert len(runner.leaks(split, paths | between)) == 1


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
        measured(parts, np.r_[np.zeros(40), normal, np.full(n, 9.0)], rule=fixed(0.0), the_job=job(seed=n))
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
        assert together.measurement.intervals[name] == pytest.approx(once.measurement.intervals[name]), name
    loose = measured({p: tuple(Item(i.path, "bolt", i.label, i.defect) for i in shots[p]) for p in PARTS}, repeated)
    assert np.nanstd(loose.resamples["auroc"]) < 0.7 * np.nanstd(together.resamples["auroc"])


def test_a_test_part_without_normal_images_is_refused_and_one_without_defects_is_not():
    normal, bad = (tuple(item for item in items("test") if item.label == label) for label in (0, 1))
    with pytest.raises(DataError, match="no normal images"):
        measure.check_test(job(), Split((), (), bad))
    measure.check_test(job(), Split((), (), normal))


def test_rules_get_what_they_need():
    mixed, normal = [0] * 30 + [1] * 30, [0] * 60
    assert isinstance(measure.threshold_rule(None, job(), mixed), Youden)
    assert isinstance(measure.threshold_rule(None, job(), normal), NormalQuantile)
    assert isinstance(measure.threshold_rule(Choice(name="f1"), job(), mixed), F1)
    assert isinstance(measure.threshold_rule(fixed(0.5), job(), []), Fixed)
    with pytest.raises(DataError, match="holds no defects, which f1 needs"):
        measure.threshold_rule(Choice(name="f1"), job(), normal)
    with pytest.raises(DataError, match="holds no normal images"):
        measure.threshold_rule(None, job(), [])


def test_normal_images_alone_are_measured_where_that_means_something():
    parts = {part: tuple(item for item in items(part, 40) if item.label == 0) for part in PARTS}
    one = measured(parts, rule=None).measurement
    assert one.rule.startswith("normal_quantile")
    assert one.metrics["auroc"] is None
    assert 0 <= one.metrics["fpr"] < 0.3
    assert "auroc" not in one.intervals


def test_resamples_of_other_rules_are_kept_where_they_differ():
    default, other = measured(rule=None), measured(rule=fixed(100.0))
    both = measure.named(other, measure.named(default, {}))
    assert np.array_equal(both["auroc"], default.resamples["auroc"].astype(np.float32), equal_nan=True)
    assert "auroc@fixed(t=100)" not in both
    assert not np.array_equal(both["balanced_accuracy"], both["balanced_accuracy@fixed(t=100)"], equal_nan=True)
    assert measure.named(measured(rule=fixed(100.0)), both).keys() == both.keys()


def test_values_that_are_not_known_have_no_interval():
    outcome = measured(rule=fixed(100.0))
    record = outcome.measurement
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
    assert run("--no-floors", *COPIES, "--data", *arguments).exit_code == 0
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
    assert record.leaks == ()
    assert not any("several sides" in note for note in record.notes)
