import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from anomalybench.evaluate.agreement import Agreement, Rights, agreement, rights

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40)


def test_the_counts():
    found = agreement([0, 1, 0, 1, 1], [0, 0, 1, 1, 1])
    assert found == Agreement(both_normal=1, only_a=1, only_b=1, both_anomalous=2)
    assert found.images == 5
    assert found.share == pytest.approx(0.6)


def test_kappa_as_computed_by_hand():
    """Of 100 images they agree on 70; by chance they would on .5 * .6 + .5 * .4 = 50."""
    found = Agreement(both_normal=45, only_a=15, only_b=15, both_anomalous=25)
    assert found.kappa == pytest.approx((0.7 - 0.52) / (1 - 0.52))


@given(PAIRS)
def test_kappa_is_that_of_scikit_learn(pairs):
    a, b, _ = zip(*pairs, strict=True)
    expected = cohen_kappa_score(a, b, labels=[False, True]) if len({*a, *b}) > 1 else math.nan
    assert agreement(a, b).kappa == pytest.approx(expected, nan_ok=True)


@given(PAIRS)
def test_the_interval_holds_the_share(pairs):
    a, b, _ = zip(*pairs, strict=True)
    found = agreement(a, b)
    assert 0 <= found.interval.low <= found.share <= found.interval.high <= 1 + 1e-12


def test_without_images_nothing_is_known():
    found = agreement([], [])
    assert math.isnan(found.share)
    assert math.isnan(found.kappa)
    assert math.isnan(found.interval.low)


def test_who_is_right():
    assert rights([1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 1, 0, 0]) == Rights(a=1, b=2)


def test_the_exact_test_as_computed_by_hand():
    """1 of 7: two tails of 1 + 7 ways out of 128."""
    assert Rights(1, 6).p == pytest.approx(2 * 8 / 128)
    assert Rights(3, 3).p == pytest.approx(1)
    assert Rights(0, 0).p == 1


@given(PAIRS)
def test_they_differ_where_only_one_is_right(pairs):
    a, b, labels = zip(*pairs, strict=True)
    found, counted = agreement(a, b), rights(a, b, labels)
    assert counted.a + counted.b == found.only_a + found.only_b
    assert rights(b, a, labels) == Rights(counted.b, counted.a)
