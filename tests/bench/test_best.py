"""The best of a run, and the job that stands for it."""

import made_records
import pytest

from anomalybench.bench import best, models
from anomalybench.bench.store.selection import Selection
from anomalybench.core.errors import UsageError
from anomalybench.core.job import Choice


def find(text, store):
    return models.find(text, store.results)


def refused(text, store, *words):
    with pytest.raises(UsageError) as error:
        find(text, store)
    for word in words:
        assert word in str(error.value)


def a_run(put, store, name="quick"):
    """Three methods with two seeds each; the middle one is the best, with its second seed far better than its first."""
    records = {}
    for method, values in {"padim": (0.8, 0.7), "cam": (0.75, 0.95), "patchcore": (0.7, 0.8)}.items():
        for seed, auroc in enumerate(values):
            records[method, seed] = put(method, where={"seed": seed}, metrics={"auroc": auroc})
    Selection(store, name).write([made_records.result(record) for record in records.values()])
    return records


def test_the_best_of_a_run_is_the_first_seed_of_the_best_method(put, store):
    records = a_run(put, store)
    assert find("best:quick", store) == made_records.folder(store, records["cam", 0])


def test_methods_are_ranked_as_on_the_leaderboard(put, store):
    from anomalybench.report import leaderboard

    a_run(put, store)
    results = made_records.results(store)
    table = leaderboard.build(results, store.resample(results)).leaderboard
    names = [group[0].record.job.method.name for group in best.ranked(results)]
    assert names == [name.partition(" ")[0] for name in table["method"]]


def test_the_best_of_a_run_whose_models_are_gone(put, store):
    records = a_run(put, store)
    store.without_model(records["cam", 0])
    assert find("best:quick", store) == made_records.folder(store, records["cam", 1])
    store.without_model(records["cam", 1])
    refused("best:quick", store, "cam", "was not kept")


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
    assert find("best:folds", store) == made_records.folder(store, records["padim", "1"])


def test_where_every_method_lacks_a_fold_those_with_the_most_are_ranked(put, store):
    values = {("padim", "1"): 0.9, ("padim", "2"): 0.8, ("cam", "2"): 0.9, ("cam", "3"): 0.9, ("grey", "1"): 1.0}
    records = ran(put, store, values)
    assert find("best:folds", store) == made_records.folder(store, records["cam", "2"])


def test_another_tool_is_never_the_best(put, store):
    records = ran(put, store, {("padim", "1"): 0.7, ("external:acme", "1"): 0.99, ("external:acme", "2"): 0.99})
    assert find("best:folds", store) == made_records.folder(store, records["padim", "1"])
    ran(put, store, {("external:acme", "1"): 0.99}, "theirs")
    refused("best:theirs", store, "another tool's")


def test_protocols_of_one_name_are_not_mixed(put, store):
    other = Choice(name="pooled", params={"train": 0.5, "calibration": 0.2}, chosen=("train",))
    here = put("padim", metrics={"auroc": 0.7})
    there = put("cam", where={"protocol": other}, metrics={"auroc": 0.9})
    Selection(store, "both").write([made_records.result(record) for record in (here, there)])
    refused("best:both", store, "toy/bolt (pooled), toy/bolt (pooled train=0.5)", "name a job")


def test_a_run_of_several_categories(put, store):
    results = [
        made_records.result(put(method, where={"category": category}, metrics={"auroc": value}))
        for (method, category), value in {
            ("padim", "bolt"): 0.9, ("padim", "nut"): 0.7, ("cam", "bolt"): 0.8, ("cam", "nut"): 0.9,
        }.items()
    ]  # fmt: skip
    Selection(store, "two").write(results)
    refused("best:two", store, "several categories", "toy/bolt (pooled), toy/nut (pooled)", "best:two/CATEGORY")
    assert "padim" in str(find("best:two/bolt", store))
    assert "cam" in str(find("best:two/toy/nut", store))
    refused("best:two/nut2", store, "Did you mean 'nut'?")


def test_a_run_with_a_slash_in_its_name(put, store):
    records = a_run(put, store, "line 3/night")
    assert find("best:line 3/night", store) == find("best:line 3/night/bolt", store)
    assert find("best:line 3/night", store) == made_records.folder(store, records["cam", 0])


def test_a_run_without_any_roc_auc(put, store):
    record = put(metrics={"auroc": None})
    Selection(store, "good").write([made_records.result(record)])
    refused("best:good", store, "none of its jobs has a ROC AUC")
