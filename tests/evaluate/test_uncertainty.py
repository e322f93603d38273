import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from anomalybench.evaluate import catalogue, uncertainty
from anomalybench.evaluate.uncertainty import MEAN_WEIGHTS, interval, resample, standard_error, weights

FEW = st.integers(-3, 3).map(lambda i: i / 4)
"""Few values, so that ties within and between the classes are the rule."""


@st.composite
def cases(draw):
    """Scores and labels of both classes, a threshold, and how often each image counts in some resamples."""
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=18))]
    scores = [draw(FEW) for _ in labels]
    rows = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels)), min_size=1, max_size=4)
    )
    return np.array(scores), np.array(labels), draw(FEW), np.array(rows)


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_every_resample_is_the_metric_of_images_repeated_as_often(case):
    """Average precision is stratified: each class keeps its total weight, however often its images were drawn."""
    s, y, threshold, rows = case
    got = resample(s, y, threshold, rows.astype(np.float32))
    for b, times in enumerate(rows):
        again, truth = np.repeat(s, times), np.repeat(y, times)
        values = [got[name][b] for name in ("auroc", "average_precision", "balanced_accuracy")]
        if len(np.unique(truth)) < 2:
            assert np.isnan(values).all()
            continue
        kept = np.where(truth == 1, y.sum() / truth.sum(), (1 - y).sum() / (1 - truth).sum())
        expected = (
            sk.roc_auc_score(truth, again),
            sk.average_precision_score(truth, again, sample_weight=kept),
            sk.balanced_accuracy_score(truth, again > threshold),
        )
        assert values == pytest.approx(expected, abs=1e-9)


def test_resamples_in_which_every_image_counts_once_are_the_metrics():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [23, 14])
    s = np.round(rng.normal(y, 1), 1)
    found, exact = resample(s, y, 0.4, np.ones((1, 37), np.float32)), catalogue.measure_image(s, y, 0.4)
    assert [found.pop(name) for name in MEAN_WEIGHTS.values()] == [1, 1]
    for name, (value,) in found.items():
        assert value == pytest.approx(exact[name], abs=1e-12), name


def test_an_image_counts_the_same_wherever_and_in_whatever_order_it_is_tested():
    here, there = weights(["a", "b", "c", "d"]), weights(["d", "x", "b"])
    assert np.array_equal(here[:, 1], there[:, 2])
    assert np.array_equal(here[:, 3], there[:, 0])
    assert not np.array_equal(here[:, 0], here[:, 1])


def test_the_order_of_the_images_plays_no_part():
    rng = np.random.default_rng(1)
    keys, y = [f"image {i}" for i in range(40)], np.repeat([0, 1], 20)
    s = np.round(rng.normal(y, 1), 1)
    turned = rng.permutation(40)
    first = resample(s, y, 0.5, weights(keys))
    second = resample(s[turned], y[turned], 0.5, weights([keys[i] for i in turned]))
    for name, values in first.items():
        assert second[name] == pytest.approx(values, abs=1e-12), name


def test_images_with_one_key_are_drawn_together():
    one, other, again = weights(["object 1", "object 2", "object 1"]).T
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_weights_are_independent_poisson_numbers():
    drawn = weights([f"image {i}" for i in range(50)])
    assert drawn.shape == (2000, 50)
    assert drawn.mean() == pytest.approx(1, abs=0.02)
    assert drawn.var() == pytest.approx(1, abs=0.03)
    assert (drawn == 0).mean() == pytest.approx(math.exp(-1), abs=0.01)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(50)).max() < 0.12


def test_weights_never_change():
    """Stored resamples of earlier runs stay comparable."""
    first = weights(["folder/bottle/image good/000.png"])[:12, 0]
    assert first.tolist() == GOLDEN


GOLDEN = [1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("estimate", "spread", "low", "high"),
    [(0.5, 0.05, 0.403238, 0.596762), (0.9, 0.03, 0.824031, 0.945347), (0.98, 0.01, 0.947442, 0.992548)],
)
def test_interval_on_the_logit_scale_by_hand(estimate, spread, low, high):
    """logit(estimate) -+ 1.959964 spread / (estimate (1 - estimate)), turned back."""
    assert interval(estimate, spread) == pytest.approx((low, high), abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(estimate=st.floats(0, 1), spread=st.floats(1e-6, 0.5))
def test_an_interval_holds_its_estimate_stays_within_0_and_1_and_grows_with_the_spread(estimate, spread):
    low, high = interval(estimate, spread)
    assert 0 <= low <= estimate + 1e-12
    assert estimate - 1e-12 <= high <= 1
    wider = interval(estimate, 1.5 * spread)
    assert wider.low <= low
    assert wider.high >= high
    mirrored = interval(1 - estimate, spread)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-6)


def test_nothing_is_said_where_nothing_is_known():
    assert all(map(math.isnan, interval(0.5, math.nan)))
    assert all(map(math.isnan, interval(math.nan, 0.1)))
    assert math.isnan(standard_error(0.5, np.array([np.nan, 0.5]), 3, 3))


def perfect(n):
    return interval(1.0, standard_error(1.0, np.ones(100), n, n))


def test_a_perfect_result_has_wilsons_limit_which_shrinks_with_the_number_of_images():
    for n in (5, 20, 100):
        z = uncertainty.Z
        wilson = 1 - z**2 / (n + z**2)
        assert perfect(n).high == 1
        assert 1 - perfect(n).low == pytest.approx(math.hypot(1 - wilson, 1 - wilson) / 2)
    lows = [perfect(n).low for n in (5, 20, 100, 1000)]
    assert lows == sorted(set(lows))
    assert 0 < lows[0] < lows[-1] < 1


def test_a_standard_error_is_the_spread_of_the_resamples_that_can_be_measured():
    drawn = np.array([0.7, np.nan, 0.8, 0.9, 1.0])
    assert standard_error(0.85, drawn, 5, 5) == pytest.approx(np.std([0.7, 0.8, 0.9, 1.0], ddof=1))
    assert standard_error(1.0, drawn, 5, 5) == pytest.approx(np.std([0.7, 0.8, 0.9, 1.0], ddof=1))


@pytest.mark.parametrize(("hits", "n"), [(27, 30), (5, 9), (100, 100)])
def test_balanced_accuracy_of_equal_shares_is_wilson_s_interval_narrowed_by_the_root_of_two(hits, n):
    wanted, p = stats.binomtest(hits, n).proportion_ci(method="wilson"), hits / n
    low, high = uncertainty.balanced_accuracy_interval(hits, n - hits, n - hits, hits)
    assert (p - low, high - p) == pytest.approx(((p - wanted.low) / math.sqrt(2), (wanted.high - p) / math.sqrt(2)))


def test_balanced_accuracy_is_no_surer_for_a_class_that_is_judged_alike():
    low, high = uncertainty.balanced_accuracy_interval(3, 0, 1, 19)
    assert 0.6 < low < 0.8
    assert 0.975 < high <= 1
    assert uncertainty.balanced_accuracy_interval(300, 0, 1, 19).low > low + 0.1
    assert all(map(math.isnan, uncertainty.balanced_accuracy_interval(0, 0, 1, 2)))


def test_fewer_than_two_objects_of_a_class_say_nothing():
    drawn = np.array([0.7, 0.8, 0.9])
    assert math.isnan(standard_error(0.8, drawn, 1, 50))
    assert math.isnan(standard_error(0.8, drawn, 50, 1))
    assert math.isnan(standard_error(1.0, np.ones(9), 1, 50))
    assert standard_error(0.8, drawn, 2, 2) > 0


def test_mean_weights_tell_how_many_objects_jobs_share():
    labels, scores = np.repeat([0, 1], [20, 6]), np.arange(26.0)
    jobs = []
    for fold in range(2):
        keys = [f"good {i}" for i in range(20)] + [f"bad {fold} {i}" for i in range(6)]
        jobs.append(resample(scores, labels, 0.5, weights(keys)))
    for kind, n in (("normal", 20), ("anomalous", 12)):
        assert uncertainty.objects(np.cov([job[MEAN_WEIGHTS[kind]] for job in jobs])) == pytest.approx(n, rel=0.1)


@pytest.mark.parametrize(
    ("types", "recalls"),
    [([20] * 5, [0.8] * 5), ([20] * 5, [0.6, 0.7, 0.8, 0.9, 0.95]), ([5, 95], [0.8, 0.8]), ([5, 95], [0.6, 0.95])],
)
@pytest.mark.parametrize("normal", [20, 100])
def test_balanced_accuracy_of_unseen_defects_counts_shared_normal_images_once(types, recalls, normal):
    """1,500 trials: 95 to 97 %; up to 99 % where types differ much. The folds' errors are correlated .9."""
    rng, inside, k = np.random.default_rng(1), 0, len(types)
    bad, good = np.diag(1 / np.array(types)), np.full((k, k), 1 / normal)
    for _ in range(600):
        scores = np.sqrt(0.9) * rng.normal(size=normal) + np.sqrt(0.1) * rng.normal(size=(k, normal))
        specificity = (scores < stats.norm.ppf(0.9)).mean(1)
        low, high = uncertainty.mean_of_shares((rng.binomial(types, recalls) / types, bad), (specificity, good))
        inside += low <= (np.mean(recalls) + 0.9) / 2 <= high
    assert 0.93 <= inside / 600 <= 0.99


def test_folds_of_their_own_images_count_as_if_pooled():
    shares, n = np.array([0.5, 0.75, 1.0]), 4
    own = uncertainty.mean_of_shares((shares, np.eye(3) / n), (shares, np.eye(3) / n))
    assert own == pytest.approx(uncertainty.balanced_accuracy_interval(9, 3, 3, 9))
    alike = uncertainty.mean_of_shares((shares, np.full((3, 3), 1 / n)), (shares, np.full((3, 3), 1 / n)))
    assert alike == pytest.approx(uncertainty.balanced_accuracy_interval(3, 1, 1, 3))


def test_wilsons_interval_of_a_share():
    """Newcombe 1998, table I: 81 of 263 and 0 of 20."""
    assert uncertainty.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert uncertainty.wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert uncertainty.wilson(0.0, 0) == (0.0, 1.0)
