import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anomalybench.evaluate.paired_tests import holm, p_value, rank, tied_with_best, wilcoxon


def test_p_values_of_differences():
    assert p_value(0.0, 0.0) == 1
    assert p_value(0.0, 0.1) == 1
    assert p_value(0.1, 0.1 / stats.norm.ppf(0.975)) == pytest.approx(0.05)
    assert p_value(-0.1, 0.1 / stats.norm.ppf(0.975)) == pytest.approx(0.05)
    assert math.isnan(p_value(0.1, 0.0))
    assert math.isnan(p_value(math.nan, 0.1))
    assert math.isnan(p_value(0.1, math.nan))


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


def set_apart(mu, trials, common=0.3, seed=0):
    """Share of trials in which each of k methods is set apart, and in which any is; a difference has sd sqrt 2."""
    rng, k = np.random.default_rng(seed), len(mu)
    covariance = (np.eye(k) + common / (1 - common)).astype(float)
    standing = lambda x: lambda c: float(x @ c / np.sqrt(c @ covariance @ c))  # noqa: E731
    draws = np.asarray(mu) + rng.multivariate_normal(np.zeros(k), covariance, trials)
    apart = np.array([~tied_with_best(x, covariance, standing(x)) for x in draws])
    return apart.mean(0), apart.any(1).mean()


@pytest.mark.parametrize("common", [0.3, 0.8])
def test_of_equally_good_methods_some_is_set_apart_in_5_percent(common):
    assert set_apart([0] * 8, 400, common)[1] <= 0.075


def test_more_of_the_worse_ones_are_set_apart_than_by_holm_over_all_pairs():
    """Seven methods 3.1 below the best, in standard deviations of one: by Holm each in 18 % of trials."""
    single, _ = set_apart([0] + [-3.1] * 7, 300)
    assert single[0] <= 0.02
    assert single[1:].mean() >= 0.3


def test_an_obviously_bad_method_costs_the_equally_good_ones_nothing():
    single, _ = set_apart([0] * 5 + [-10] * 2, 300)
    assert single[5:].min() > 0.99
    assert single[:5].sum() <= 0.08


def test_identical_methods_are_tied():
    covariance = np.array([[1.0, 1.0, 0], [1, 1, 0], [0, 0, 1]])
    standing = lambda c: float(np.array([9.0, 9, 0]) @ c / max(np.sqrt(c @ covariance @ c), 1e-3))  # noqa: E731
    assert tied_with_best(np.array([9.0, 9, 0]), covariance, standing).tolist() == [True, True, False]
    assert tied_with_best(np.array([1.0]), np.eye(1), standing).tolist() == [True]
