import made_models
import made_records
import numpy as np
import pytest

from anomalybench.bench import best, models
from anomalybench.bench.store import Outcome
from anomalybench.bench.store.selection import Selection
from anomalybench.core.errors import UsageError
from anomalybench.core.job import Choice
from anomalybench.core.record import Measurement, results_of
from anomalybench.deploy import bundle
from anomalybench.deploy.promoted import Promoted


def find(text, store):
    return models.find(text, store.results)


def refused(text, store, *words):
    with pytest.raises(UsageError) as error:
        find(text, store)
    for word in words:
        assert word in str(error.value)


def test_a_folder_with_a_model(tmp_path, store):
    bundle.write(tmp_path, made_models.bundle())
    assert find(str(tmp_path), store) == tmp_path


def test_an_exported_file_by_itself(tmp_path, store):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"")
    assert find(str(file), store) == file


def test_a_promoted_model(store):
    promoted = Promoted(store.results)
    for _ in range(2):
        promoted.promote(made_models.bundle(), "pill")
    assert find("pill", store) == promoted.folder("pill", 2)
    assert find("pill/1", store) == promoted.folder("pill", 1)
    refused("pill/3", store, "pill has no version 3. There are 1, 2.")
    refused("pill/last", store, "after pill/ comes the number of a version", "pill/1")


def test_a_folder_with_a_model_wins_over_a_promoted_one(store, tmp_path, monkeypatch):
    Promoted(store.results).promote(made_models.bundle(), "pill")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pill").mkdir()
    assert find("pill", store) == Promoted(store.results).folder("pill")
    bundle.write(tmp_path / "pill", made_models.bundle())
    assert find("pill", store).resolve() == tmp_path / "pill"


def test_a_promoted_model_wins_over_a_job(store, put):
    record = put()
    Promoted(store.results).promote(made_models.bundle(), record.id[:4])
    assert find(record.id[:4], store) == Promoted(store.results).folder(record.id[:4])
    assert find(record.id[:5], store) == made_records.folder(store, record)


def test_a_job_by_the_beginning_of_its_id(store, put):
    record = put()
    for text in (record.id[:1], record.id[:6], record.id, f"{record.id[:6]}@default"):
        assert find(text, store) == made_records.folder(store, record)
    assert bundle.read(find(record.id, store)).card.record == record.id


def test_several_jobs_are_listed(store, put):
    one = put()
    other = put(fingerprint="e" * 16)
    refused(one.job.id, store, "2 jobs begin with", one.id, other.id, "write more of the id")
    assert find(other.id, store) == made_records.folder(store, other)


def lost(store, **changes):
    job = made_records.job("padim")
    return store.put(Outcome(made_records.lost(job, fingerprint="f" * 16, **changes)))


def test_a_job_that_failed(store):
    record = lost(store, error="out of memory")
    refused(record.id[:5], store, "it failed: out of memory. Run its command again.", record.id)


def test_a_job_that_was_skipped(store):
    record = lost(store, status="skipped", error="learns from labels")
    refused(record.id, store, "it was skipped: learns from labels")


def test_a_job_whose_model_was_not_kept(store, put):
    record = put(model=False)
    refused(record.id, store, record.id, "was not kept", "--force --keep-models all")


def test_a_job_whose_model_cannot_be_kept(store, put):
    reason = "the model is not kept: its state holds arrays that cannot be kept: x (object)"
    record = put(model=False)
    store.measured(record.model_copy(update={"notes": (reason,)}), {})
    refused(record.id, store, "arrays that cannot be kept: x (object)")


def test_the_scores_of_another_tool(store, put):
    record = put("external:acme", model=False)
    refused(record.id, store, "it holds the scores of another tool")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "best:nonsense",
        "..",
        "a/b",
        "@default",
        "\x1b[31m",
        "pill/1",
        "x" * 500,
        "a\0b",
        "best:" + "y" * 500,
    ],
)
def test_what_nobody_knows(store, put, text):
    put()
    with pytest.raises(UsageError) as error:
        find(text, store)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 900


def test_the_nearest_names_are_offered(store, put):
    record = put()
    Promoted(store.results).promote(made_models.bundle(), "pills")
    Selection(store, "quick").write(results_of(record))
    refused("pill", store, "Did you mean pills?")
    refused("best:quik", store, "Did you mean 'quick'?")
    refused("quick", store, "Did you mean best:quick")


def test_without_results_there_is_an_error_with_a_way_on(tmp_path):
    with pytest.raises(UsageError, match=r"there is no model 'pill'.*--results DIR"):
        models.find("pill", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_without_a_model(tmp_path, store):
    refused(str(tmp_path), store, "is a folder without model.json")


def two_rules(put, store):
    """A job that was measured by two threshold rules, the default first."""
    record = put()
    choice = Choice(name="fpr", params={"q": 0.1}, chosen=("q",))
    first = record.measurements[0]
    strict = first.model_copy(
        update={"choice": choice, "rule": "fpr(q=0.1)", "threshold": 1.25, "metrics": {"auroc": 0.5}}
    )
    return store.measured(record.model_copy(update={"measurements": (first, strict)}), {})


def test_another_threshold_rule_of_a_job(put, store):
    record = two_rules(put, store)
    text = f"{record.id[:6]}@fpr(q=0.1)"
    found = models.look_up(text, store.results)
    card = found.card()
    assert card.decision.measured == 1.25
    assert card.decision.rule == "fpr(q=0.1)"
    assert card.metrics == {"auroc": 0.5}
    assert found.read().card == card
    assert np.array_equal(found.read().state["memory_"], store.model(record).state["memory_"])
    refused(text, store, "another threshold rule", "anomalybench models promote")
    plain = models.look_up(record.id, store.results)
    assert plain.card().decision.rule == "youden"


def test_a_threshold_rule_that_it_was_not_measured_with(put, store):
    record = two_rules(put, store)
    refused(f"{record.id}@f1", store, "was not measured with 'f1', but with default, fpr(q=0.1)", "--threshold")
    refused(f"{record.id}@", store, "after @ comes a threshold rule")


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
    store.drop_model(records["cam", 0])
    assert find("best:quick", store) == made_records.folder(store, records["cam", 1])
    store.drop_model(records["cam", 1])
    refused("best:quick", store, "cam", "was not kept")


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


def test_the_best_of_a_run_decides_by_the_rule_of_the_run(put, store):
    record = two_rules(put, store)
    Selection(store, "strict").write([one for one in results_of(record) if one.measurement.name != "default"])
    assert models.look_up("best:strict", store.results).card().decision.rule == "fpr(q=0.1)"


def test_measurements_of_older_formulas_do_not_count(put, store):
    record = put()
    old = Measurement(version=0, choice=Choice(name="f1"), rule="f1", threshold=1.0)
    store.measured(record.model_copy(update={"measurements": (*record.measurements, old)}), {})
    refused(f"{record.id}@f1", store, "was not measured with 'f1', but with default")
