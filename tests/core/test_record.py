import pydantic
import pytest

from anomalybench.core.job import Choice, Job
from anomalybench.core.record import (
    MEASURE_VERSION,
    Explanation,
    Measurement,
    MeasureOptions,
    Record,
    Result,
    rule_name,
)

FPR = Choice(name="fpr", params={"q": 0.1}, chosen=("q",))


def job(method=None, protocol=None, dataset=None, **changes):
    return Job(
        method=method or Choice(name="cam", params={"epochs": 10, "rate": 0.1}, chosen=("rate",)), version=1,
        dataset=dataset or Choice(name="folder", params={"max_normal": None}), category="bolt",
        protocol=protocol or Choice(name="pooled", params={"train": 0.6}), **changes,
    )  # fmt: skip


def record(the_job=None, **changes):
    return Record(**{"job": the_job or job(), "status": "ok", "fingerprint": "0123456789abcdef", **changes})


def measurement(choice=None, version=MEASURE_VERSION, **changes):
    return Measurement(**{"version": version, "choice": choice, "rule": "youden", "threshold": 0.5, **changes})


def test_a_record_that_lacks_a_new_parameter_still_holds():
    older = record(job(Choice(name="cam", params={"rate": 0.1}, chosen=("rate",))))
    assert older.job.id == job().id
    assert older.holds(job())
    assert record().holds(older.job)


@pytest.mark.parametrize(
    "earlier",
    [
        {"method": Choice(name="cam", params={"epochs": 20, "rate": 0.1}, chosen=("rate",))},
        {"dataset": Choice(name="folder", params={"max_normal": 9})},
        {"protocol": Choice(name="pooled", params={"train": 0.5})},
    ],
)
def test_a_record_made_with_another_default_does_not_hold(earlier):
    older = record(job(**earlier))
    assert older.job.id == job().id
    assert not older.holds(job())


def test_what_failed_does_not_hold_and_what_was_skipped_does():
    assert not record(status="failed").holds(job())
    assert record(status="skipped").holds(job())
    assert not record().holds(job(seed=1))


def test_what_is_asked_for_was_measured_only_by_the_same_formulas():
    default, fpr = MeasureOptions(), MeasureOptions(threshold=FPR)
    one = record(measurements=(measurement(),))
    assert one.measured(default)
    assert not record(measurements=(measurement(version=MEASURE_VERSION - 1),)).measured(default)
    assert not one.measured(fpr)
    assert record(measurements=(measurement(), measurement(FPR))).measured(fpr)
    assert record(status="skipped").measured(fpr)


def test_insertion_and_deletion_count_as_measured_on_as_many_images_or_more():
    explained = record(measurements=(measurement(),), explanation=Explanation(images=4, metrics={}))
    assert explained.measured(MeasureOptions(explain=4))
    assert explained.measured(MeasureOptions(explain=2))
    assert not explained.measured(MeasureOptions(explain=5))
    assert not record(measurements=(measurement(),)).measured(MeasureOptions(explain=1))


def test_rules_are_named_by_what_was_chosen():
    assert rule_name(None) == "default"
    assert rule_name(FPR) == "fpr(q=0.1)"
    assert rule_name(Choice(name="fpr", params={"q": 0.05})) == "fpr"


def test_results_of_one_record_have_ids_and_metrics_of_their_own():
    one = record(
        measurements=(measurement(metrics={"auroc": 0.9}), measurement(FPR, metrics={"auroc": 0.9})),
        explanation=Explanation(images=2, metrics={"insertion_auc": 0.4}),
    )
    default, fpr = (Result(one, m) for m in one.measurements)
    assert (default.id, fpr.id) == (one.id, f"{one.id}@fpr(q=0.1)")
    assert default.metrics == {"auroc": 0.9, "insertion_auc": 0.4}
    assert one.id == f"{one.job.id}-01234567"
    assert Result(record(status="failed", fingerprint="")).id == one.job.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": {"test": -1}},
        {"counts": {"test": 10**400}},
        {"counts": []},
        {"costs": {"fit_s": float("nan")}},
        {"measurements": (measurement(),) * 2, "map_size": (10**9, 10**9)},
        {"files": ["record.json"]},
        {"schema_version": 1},
        {"unknown": 1},
    ],
)
def test_odd_values_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        record(**wrong)


def test_a_record_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        record().status = "failed"
