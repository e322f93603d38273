import made_records
import pytest

from anomalybench.bench import best
from anomalybench.bench.store.selection import Selection
from anomalybench.core.errors import UsageError
from anomalybench.core.job import Choice


def found(name, store):
    """Record of the job that stands for the best method of a run."""
    return best.of_run(name, store).record


def ran(put, store, values, name="folds"):
    """A run of these ROC AUCs by method and fold."""
    records = {
        (method, fold): put(method, model=":" not in method, where={"fold": fold}, metrics={"auroc": auroc})
        for (method, fold), auroc in values.items()
    }
    Selection(store, name).write([made_records.result(record) for record in records.values()])
    return records


def test_a_method_whose_other_folds_failed_is_not_the_best(put, store):
    records = ran(put, store, {("padim", "1"): 0.9, ("padim", "2"): 0.8, ("cam", "2"): 0.95})
    assert found("folds", store) == records["padim", "1"]


def test_where_every_method_lacks_a_fold_those_with_the_most_are_ranked(put, store):
    values = {("padim", "1"): 0.9, ("padim", "2"): 0.8, ("cam", "2"): 0.9, ("cam", "3"): 0.9, ("grey", "1"): 1.0}
    records = ran(put, store, values)
    assert found("folds", store) == records["cam", "2"]


def test_another_tool_is_never_the_best(put, store):
    records = ran(put, store, {("padim", "1"): 0.7, ("external:acme", "1"): 0.99, ("external:acme", "2"): 0.99})
    assert found("folds", store) == records["padim", "1"]
    ran(put, store, {("external:acme", "1"): 0.99}, "theirs")
    with pytest.raises(UsageError, match="another tool's"):
        found("theirs", store)


def test_protocols_of_one_name_are_not_mixed(put, store):
    other = Choice(name="pooled", params={"train": 0.5, "calibration": 0.2}, chosen=("train",))
    here = put("padim", metrics={"auroc": 0.7})
    there = put("cam", where={"protocol": other}, metrics={"auroc": 0.9})
    Selection(store, "both").write([made_records.result(record) for record in (here, there)])
    with pytest.raises(UsageError, match=r"toy/bolt \(pooled\), toy/bolt \(pooled train=0\.5\).*name a job"):
        found("both", store)
