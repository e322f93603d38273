import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anomalybench.evaluate.drift_measures import distance, share_below, stability, values_of
from anomalybench.evaluate.statistics import quantiles

SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def normal(n, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, n)


def test_the_index_as_computed_by_hand():
    """Ten reference values make two bins, at 5.5; of the sample 1 of 4 lies below. Each count grows by a half."""
    found = stability([1, 6, 7, 8], range(1, 11))
    e = [5.5 / 11, 5.5 / 11]
    a = [1.5 / 5, 3.5 / 5]
    assert found.bins == 2
    assert found.value == pytest.approx(sum((x - y) * math.log(x / y) for x, y in zip(a, e, strict=True)))
    assert found.chance == pytest.approx(1 / 4 + 1 / 10)


def test_the_index_over_deciles_as_its_definition_says():
    known, new = normal(1000), normal(5000, 0.5, 1)
    edges = [-np.inf, *np.quantile(known, np.arange(1, 10) / 10), np.inf]
    e, a = (np.histogram(values, edges)[0] / values.size for values in (known, new))
    found = stability(new, known)
    assert found.bins == 10
    assert found.value == pytest.approx(((a - e) * np.log(a / e)).sum(), rel=0.01)


def test_a_shift_of_half_a_deviation_is_about_a_quarter():
    """Two normal distributions d deviations apart have a symmetric divergence of d squared; deciles lose a tenth."""
    assert stability(normal(20_000, 0.5, 1), normal(20_000)).value == pytest.approx(0.225, abs=0.015)


@pytest.mark.parametrize(("n", "m"), [(30, 20), (200, 20), (200, 200)])
def test_chance_is_what_equal_distributions_have_on_average(n, m):
    rng = np.random.default_rng(0)
    found = [stability(rng.normal(size=n), rng.normal(size=m)) for _ in range(500)]
    assert np.mean([one.value for one in found]) == pytest.approx(found[0].chance, rel=0.2)


@pytest.mark.parametrize("other", [100.0, 640.0])
def test_one_value_for_all_has_a_bin_of_its_own(other):
    same, moved = stability([300.0] * 50, [300.0] * 20), stability([other] * 50, [300.0] * 20)
    assert same.value < same.chance
    assert moved.value > 2


def test_a_value_that_most_have_is_told_from_its_neighbours():
    known = [*range(5), *[10.0] * 30, *range(20, 25)]
    assert stability([10.0] * 40, known).value < 1 < stability([9.5] * 40, known).value
    assert stability([10.5] * 40, known).value > 1


@given(SAMPLES, SAMPLES)
def test_measures_of_any_samples_are_in_their_ranges(new, known):
    index, ks = stability(new, known), distance(new, known)
    assert index.value >= 0
    assert math.isfinite(index.value + index.chance)
    assert 2 <= index.bins <= 20
    assert 0 <= ks.value <= 1
    assert 0 <= ks.p <= 1


@given(SAMPLES)
def test_a_sample_does_not_differ_from_itself(values):
    assert stability(values, values).value == pytest.approx(0, abs=1e-12)
    assert distance(values, values).value == 0
    assert distance(values, values).p == 1


@given(SAMPLES, SAMPLES, st.randoms(use_true_random=False))
def test_order_plays_no_part(new, known, random):
    other, others = random.sample(new, len(new)), random.sample(known, len(known))
    assert stability(other, others) == stability(new, known)
    assert distance(other, others) == distance(new, known)


def test_values_far_away_move_nothing_but_the_last_bin():
    known = normal(100)
    assert stability([*known, 10.0], known).value == stability([*known, 1e9], known).value


@pytest.mark.parametrize("count", [1, 20, 201])
def test_a_small_reference_is_kept_as_it_was(count):
    values = normal(count)
    assert values_of(quantiles(values), count).tolist() == sorted(values)


@pytest.mark.parametrize("count", [202, 1000, 9999])
def test_a_large_reference_is_near_to_what_it_was(count):
    values, new = normal(count), normal(300, 0.3, 1)
    again = values_of(quantiles(values), count)
    assert again.size == count
    found, exact = distance(new, again), stats.ks_2samp(new, values)
    assert found.value == pytest.approx(exact.statistic, abs=0.006)
    assert math.log(found.p) == pytest.approx(math.log(exact.pvalue), rel=0.15)
    assert stability(new, again).value == pytest.approx(stability(new, values).value, rel=0.1)


def test_ties_of_a_large_reference_stay_ties():
    again = values_of(quantiles([300.0] * 500 + [640.0] * 500), 1000)
    assert (again == 300).sum() == pytest.approx(500, abs=5)
    assert (again == 640).sum() == pytest.approx(500, abs=5)


def test_a_reference_of_very_many_values_is_thinned():
    assert values_of(quantiles(normal(50_000)), 50_000).size == 10_000


def test_nothing_stays_nothing():
    assert values_of((), 0).size == 0


@pytest.mark.parametrize(("n", "m"), [(1, 20), (30, 20), (200, 57), (500, 1000)])
def test_the_distance_as_its_definition_says(n, m):
    new, known = normal(n, 0.4, 1), normal(m)
    points = np.concatenate([new, known])
    steps = [np.array([(values <= point).mean() for point in points]) for values in (new, known)]
    assert distance(new, known).value == pytest.approx(np.abs(steps[0] - steps[1]).max())


def test_the_p_value_is_that_of_all_ways_to_deal_the_values():
    """Of 3 + 3 values without ties, 2 of the 20 ways to deal them part them wholly."""
    assert distance([1, 2, 3], [4, 5, 6]).p == pytest.approx(2 / 20)


@pytest.mark.parametrize("one", [stability, distance])
def test_without_values_there_is_nothing_to_compare(one):
    for pair in (([], [1.0]), ([1.0], [])):
        with pytest.raises(ValueError, match="without values"):
            one(*pair)


def test_the_share_below_counts_equal_ones_half():
    assert share_below(2, [1, 2, 3, 4]) == pytest.approx(0.375)
    assert share_below(9, [1, 2]) == 1
    assert share_below(0, [1, 2]) == 0
