"""Which models of a run stay, and that nothing else goes with the others."""

import made_records

from anomalybench.bench import kept_models
from anomalybench.core.job import Choice
from anomalybench.core.record import Measurement


def test_the_best_methods_models_stay(put, store):
    best, other = put("cam", metrics={"auroc": 0.9}), put("padim", metrics={"auroc": 0.8})
    assert kept_models.keep_best([made_records.result(one) for one in (best, other)], store) == 1
    assert store.model(store.newest(best.job)) is not None
    assert store.model(store.newest(other.job)) is None


def test_what_was_measured_meanwhile_stays_with_the_results(put, store):
    best, other = put("cam", metrics={"auroc": 0.9}), put("padim", metrics={"auroc": 0.8})
    results = [made_records.result(one) for one in (best, other)]
    fpr = Measurement(version=1, choice=Choice(name="fpr"), rule="fpr(q=0.05)", threshold=0.4)
    store.measured(other.model_copy(update={"measurements": (*other.measurements, fpr)}), store.resamples(other))
    kept_models.keep_best(results, store)
    now = store.newest(other.job)
    assert fpr in now.measurements
    assert store.model(now) is None
    assert store.resamples(now).keys() == store.resamples(best).keys()


def test_without_a_roc_auc_all_stay(put, store):
    records = [put("cam", metrics={"auroc": None}), put("padim", metrics={"auroc": None})]
    assert kept_models.keep_best([made_records.result(one) for one in records], store) == 0
