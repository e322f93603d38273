import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from anomalybench.evaluate import catalogue, statistics
from anomalybench.evaluate.statistics import holm, interval, p_value, rank, resample, standard_error, weights, wilcoxon

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
    assert math.isnan(p_value(math.nan, 0.1))
    assert math.isnan(p_value(0.1, math.nan))


def perfect(n):
    return interval(1.0, standard_error(1.0, np.ones(100), n, n))


def test_a_perfect_result_has_wilsons_limit_which_shrinks_with_the_number_of_images():
    for n in (5, 20, 100):
        z = statistics.Z
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


def test_p_values_of_differences():
    assert p_value(0.0, 0.0) == 1
    assert p_value(0.0, 0.1) == 1
    assert p_value(0.1, 0.1 / stats.norm.ppf(0.975)) == pytest.approx(0.05)
    assert p_value(-0.1, 0.1 / stats.norm.ppf(0.975)) == pytest.approx(0.05)
    assert math.isnan(p_value(0.1, 0.0))


def test_holm_by_hand():
    """Sorted .01, .02, .03, .04 times 4, 3, 2, 1 are .04, .06, .06, .04; none may be below an earlier one."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def test_holm_leaves_out_what_is_not_known():
    adjusted = holm([math.nan, 0.01, math.nan, 0.04])
    assert [adjusted[1], adjusted[3]] == pytest.approx([0.02, 0.04])
    assert math.isnan(adjusted[0])
    assert math.isnan(adjusted[2])


@settings(max_examples=100, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_definition_rejects(p):
    """Step down: reject while the i-th smallest is below 5 % / (m - i)."""
    rejected, order = set(), sorted(range(len(p)), key=lambda i: p[i])
    for step, i in enumerate(order):
        if p[i] * (len(p) - step) >= 0.05:
            break
        rejected.add(i)
    adjusted = holm(p)
    assert {i for i, value in enumerate(adjusted) if value < 0.05} == rejected
    assert all(raw <= value <= 1 for raw, value in zip(p, adjusted, strict=True))


def signed_rank(a, b):
    """Exact two-sided p-value by trying all signs; for differences without ties or zeros."""
    ranks = stats.rankdata(np.abs(np.subtract(a, b)))
    seen = ranks[np.subtract(a, b) > 0].sum()
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    tail = min(np.mean(np.array(sums) >= seen), np.mean(np.array(sums) <= seen))
    return min(1, 2 * tail)


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_tries_all_signs(seed):
    a, b = np.random.default_rng(seed).normal(0.3 * seed, 1, 9), np.zeros(9)
    assert wilcoxon(a, b) == pytest.approx(signed_rank(a, b))
    assert wilcoxon(b, a) == pytest.approx(signed_rank(a, b))


def test_wilcoxon_of_equal_methods_and_of_six_categories_won():
    assert wilcoxon([0.5, 0.7], [0.5, 0.7]) == 1
    assert wilcoxon([1, 2, 3, 4, 5, 6], [0] * 6) == pytest.approx(2 / 2**6)


def test_ranks_by_hand():
    """Ranks per category: a 1 1 1.5, b 2 3 1.5, c 3 2 3."""
    found = rank({"c": [0.7, 0.8, 0.6], "a": [0.9, 0.9, 0.8], "b": [0.8, 0.7, 0.8]})
    assert found.methods == ["a", "b", "c"]
    assert found.ranks == pytest.approx([3.5 / 3, 6.5 / 3, 8 / 3])
    assert set(found.p_values) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert found.n_categories == 3
    assert found.cliques == [["a", "b", "c"]]


def test_cliques_are_the_largest_runs_without_a_difference():
    """Ten categories: a beats c and d in all, b beats d in all, c and d and a and b alternate."""
    base, sign = np.arange(10) / 1000, np.resize([1, -1], 10)
    wobble = sign * (1 + base) / 50
    values = {"a": 0.9 + base, "b": 0.9 + base - wobble, "c": 0.7 + 2 * base, "d": 0.7 + 2 * base - wobble - 1e-4}
    found = rank(values)
    raw = [stats.wilcoxon(np.subtract(values[a], values[b])).pvalue for a, b in found.p_values]
    expected = sorted(raw)
    assert sorted(found.p_values.values()) == pytest.approx(
        np.maximum.accumulate(np.minimum(1, np.array(expected) * np.arange(6, 0, -1)))
    )
    assert sorted(sorted(clique) for clique in found.cliques) == [["a", "b"], ["c", "d"]]


def test_overlapping_cliques():
    """The middle method differs from neither neighbour, but these differ: with 8 categories, 2/256 x 3 < 5 %."""
    base = np.arange(8) / 1000
    sign = np.resize([1, -1], 8) * (1 + base)
    found = rank({"a": 0.9 + base, "b": 0.85 + sign / 10, "c": 0.8 - base})
    assert found.p_values[found.methods[0], found.methods[2]] == pytest.approx(6 / 256)
    assert sorted(map(sorted, found.cliques)) == [["a", "b"], ["b", "c"]]
    alone = rank({"a": 0.9 + base, "b": 0.8 - base})
    assert alone.cliques == []


@pytest.mark.parametrize(("hits", "n"), [(27, 30), (5, 9), (100, 100)])
def test_balanced_accuracy_of_equal_shares_is_wilson_s_interval_narrowed_by_the_root_of_two(hits, n):
    wanted, p = stats.binomtest(hits, n).proportion_ci(method="wilson"), hits / n
    low, high = statistics.balanced_accuracy_interval(hits, n - hits, n - hits, hits)
    assert (p - low, high - p) == pytest.approx(((p - wanted.low) / math.sqrt(2), (wanted.high - p) / math.sqrt(2)))


def test_balanced_accuracy_is_no_surer_for_a_class_that_is_judged_alike():
    low, high = statistics.balanced_accuracy_interval(3, 0, 1, 19)
    assert 0.6 < low < 0.8
    assert 0.975 < high <= 1
    assert statistics.balanced_accuracy_interval(300, 0, 1, 19).low > low + 0.1
    assert all(map(math.isnan, statistics.balanced_accuracy_interval(0, 0, 1, 2)))
