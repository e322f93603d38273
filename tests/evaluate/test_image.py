import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from anomalybench.evaluate.catalogue import measure_image
from anomalybench.evaluate.image import accuracy_by_defect, auroc, average_precision, balanced_accuracy, resample
from anomalybench.evaluate.uncertainty import weights

quick = settings(max_examples=200, deadline=None)
SCORES = st.integers(-4, 4).map(lambda i: i / 4)
"""Few values, so that ties within and between the classes are the rule."""


@st.composite
def both_classes(draw, scores=SCORES):
    pairs = draw(st.lists(st.tuples(scores, st.integers(0, 1)), max_size=40))
    pairs += [(draw(scores), 0), (draw(scores), 1)]
    s, y = zip(*draw(st.permutations(pairs)), strict=True)
    return np.array(s), np.array(y)


def measured(good_right, good_wrong, bad_wrong, bad_right):
    """Metrics of a confusion matrix, by scores 0 and 1 that make it."""
    labels = [0] * (good_right + good_wrong) + [1] * (bad_wrong + bad_right)
    scores = [0.0] * good_right + [1.0] * good_wrong + [0.0] * bad_wrong + [1.0] * bad_right
    return measure_image(scores, labels, 0.5)


@quick
@given(data=both_classes(), threshold=SCORES)
def test_every_metric_agrees_with_scikit_learn(data, threshold):
    s, y = data
    called = (s > threshold).astype(int)
    tn, fp, fn, tp = sk.confusion_matrix(y, called, labels=[0, 1]).ravel()
    fpr, tpr, _ = sk.roc_curve(y, s, drop_intermediate=False)
    got = measure_image(s, y, threshold)
    assert (got["tn"], got["fp"], got["fn"], got["tp"]) == (tn, fp, fn, tp)
    expected = {
        "auroc": sk.roc_auc_score(y, s),
        "average_precision": sk.average_precision_score(y, s),
        "accuracy": sk.accuracy_score(y, called),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "precision": sk.precision_score(y, called, zero_division=np.nan),
        "recall": sk.recall_score(y, called),
        "specificity": sk.recall_score(y, called, pos_label=0),
        "f1": sk.f1_score(y, called),
        "fpr": 1 - sk.recall_score(y, called, pos_label=0),
        "fnr": 1 - sk.recall_score(y, called),
        "mcc": sk.matthews_corrcoef(y, called),
        "oracle_balanced_accuracy": np.max((tpr + 1 - fpr) / 2),
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("seed", range(5))
def test_ranking_metrics_agree_with_scikit_learn_on_many_scores(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 500)
    s = np.round(rng.normal(y, 2), 1)
    assert auroc(s, y) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
    assert average_precision(s, y) == pytest.approx(sk.average_precision_score(y, s), abs=1e-12)


@quick
@given(data=both_classes(), threshold=SCORES)
def test_the_oracle_threshold_reaches_the_oracle_and_nothing_beats_it(data, threshold):
    s, y = data
    got = measure_image(s, y, threshold)
    assert measure_image(s, y, got["oracle_threshold"])["balanced_accuracy"] == pytest.approx(
        got["oracle_balanced_accuracy"]
    )
    assert got["balanced_accuracy"] <= got["oracle_balanced_accuracy"] + 1e-12


@quick
@given(data=both_classes(scores=st.integers(-30, 30)))
def test_ranking_metrics_are_blind_to_strictly_monotone_transforms(data):
    s, y = data
    for transformed in (np.exp(s / 10), s.astype(float) ** 3, 1e6 * s - 5, np.arctan(s)):
        assert auroc(transformed, y) == auroc(s, y)
        assert average_precision(transformed, y) == average_precision(s, y)


@quick
@given(data=both_classes())
def test_turned_scores_turn_auroc(data):
    s, y = data
    assert auroc(-s, y) == pytest.approx(1 - auroc(s, y))
    assert auroc(s, 1 - y) == pytest.approx(1 - auroc(s, y))


def test_a_score_on_the_threshold_is_normal():
    got = measure_image([0.5, 0.5], [0, 1], 0.5)
    assert (got["tn"], got["fn"], got["tp"], got["fp"]) == (1, 1, 0, 0)
    just_below = measure_image([0.5, 0.5], [0, 1], np.nextafter(0.5, 0))
    assert tuple(just_below[name] for name in ("tp", "fp", "tn", "fn")) == (1, 1, 0, 0)
    assert accuracy_by_defect([0.5, 0.5], [0, 1], ["good", "hole"], 0.5) == {"good": 1.0, "hole": 0.0}


def test_perfect_reversed_and_constant_scores():
    assert auroc([1, 2, 3, 4], [0, 0, 1, 1]) == 1
    assert auroc([4, 3, 2, 1], [0, 0, 1, 1]) == 0
    assert auroc([7, 7, 7], [0, 0, 1]) == 0.5
    assert average_precision([7, 7, 7, 7], [0, 0, 0, 1]) == 0.25


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_the_rest_undefined(label):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = measure_image([0.1, 0.7, 0.9], [label] * 3, 0.5)
    lacking = ("recall", "fnr", "average_precision") if label == 0 else ("specificity", "fpr")
    for name in ("auroc", "balanced_accuracy", "oracle_balanced_accuracy", "oracle_threshold", *lacking):
        assert math.isnan(got[name]), name
    assert got["mcc"] == 0
    assert got["accuracy"] == pytest.approx(1 / 3 if label == 0 else 2 / 3)


def test_precision_is_undefined_where_nothing_is_called_anomalous():
    got = measure_image([0.1, 0.2], [0, 1], 0.5)
    assert math.isnan(got["precision"])
    assert (got["f1"], got["recall"], got["mcc"]) == (0, 0, 0)


@pytest.mark.parametrize("threshold", [0.15, 0.5])
def test_f1_is_undefined_where_no_image_is_anomalous(threshold):
    assert math.isnan(measure_image([0.1, 0.2], [0, 0], threshold)["f1"])


def test_mcc_of_very_many_images_does_not_overflow():
    n = 200_000
    assert measured(n, 0, 0, n)["mcc"] == pytest.approx(1)
    assert measured(0, n, n, 0)["mcc"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("category", "good_right", "good_wrong", "bad_wrong", "bad_right", "accuracy", "balanced"),
    [
        ("hazelnut", 85, 2, 1, 13, 97.0, 95.3),
        ("leather", 55, 0, 3, 16, 96.0, 92.1),
        ("cable", 57, 0, 4, 14, 94.7, 88.9),
        ("toothbrush", 15, 0, 2, 4, 90.5, 83.3),
        ("pill", 50, 9, 6, 22, 82.8, 81.7),
    ],
)
def test_published_confusion_counts_give_the_published_accuracies(
    category, good_right, good_wrong, bad_wrong, bad_right, accuracy, balanced
):
    """Visual-Inspection's table, in which `good` is the positive class."""
    got = measured(good_right, good_wrong, bad_wrong, bad_right)
    assert (got["tn"], got["fp"], got["fn"], got["tp"]) == (good_right, good_wrong, bad_wrong, bad_right), category
    assert abs(100 * got["accuracy"] - accuracy) < 0.055  # leather's 71 of 74 are 95.946 %, printed as 96.0
    assert abs(100 * got["balanced_accuracy"] - balanced) < 0.05


def test_accuracy_by_defect_counts_each_type_by_itself():
    scores, labels = [0.1, 0.9, 0.9, 0.1, 0.8, 0.2], [0, 0, 1, 1, 1, 0]
    defects = ["good", "good", "hole", "hole", "scratch", "good"]
    got = accuracy_by_defect(scores, labels, defects, 0.5)
    assert got == {"good": pytest.approx(2 / 3), "hole": 0.5, "scratch": 1.0}


def test_any_metric_can_be_resampled_by_repetition():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [9, 6])
    s = rng.normal(y)
    weight = weights([str(i) for i in range(15)])[:40]
    found = resample(balanced_accuracy, s, y, 0.5, weight)
    for value, times in zip(found, weight, strict=True):
        drawn = times > 0
        expected = sk.balanced_accuracy_score(y[drawn], s[drawn] > 0.5, sample_weight=times[drawn])
        assert value == pytest.approx(expected)
    one_class = np.r_[np.ones(9), np.zeros(6)].astype(np.float32)[None]
    assert np.isnan(resample(balanced_accuracy, s, y, 0.5, one_class)).all()
