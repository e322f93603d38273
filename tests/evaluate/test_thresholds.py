import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalybench.evaluate.thresholds import F1, RULES, Fixed, Fpr, NormalQuantile, Youden

quick = settings(max_examples=200, deadline=None)
HUGE = np.finfo(float).max
FEW = st.integers(-4, 4).map(lambda i: i / 4)
WIDE = st.floats(allow_nan=False, allow_infinity=False)
CLOSE = st.integers(0, 4).map(lambda i: 1.0 + i * np.finfo(float).eps)


@st.composite
def both_classes(draw):
    scores = draw(st.sampled_from([FEW, WIDE, CLOSE]))
    pairs = draw(st.lists(st.tuples(scores, st.integers(0, 1)), max_size=30))
    pairs += [(draw(scores), 0), (draw(scores), 1)]
    s, y = zip(*draw(st.permutations(pairs)), strict=True)
    return np.array(s), np.array(y)


def cuts(s):
    """A threshold for every way to cut the scores in two."""
    return [-np.inf, *np.unique(s)]


def balanced_accuracy(s, y, t):
    called = s > t
    return (Fraction(int(called[y == 1].sum()), int((y == 1).sum())) + Fraction(
        int((~called)[y == 0].sum()), int((y == 0).sum())
    )) / 2  # fmt: skip


def f1(s, y, t):
    called = s > t
    return Fraction(2 * int((called & (y == 1)).sum()), int(called.sum()) + int((y == 1).sum()))


@pytest.mark.parametrize(("rule", "quality"), [(Youden(), balanced_accuracy), (F1(), f1)])
@quick
@given(data=both_classes())
def test_no_cut_is_better_and_no_higher_one_as_good(rule, quality, data):
    s, y = data
    t = rule.fit(s, y)
    qualities = {cut: quality(s, y, cut) for cut in cuts(s)}
    best = max(qualities.values())
    assert quality(s, y, t) == best
    highest = max(cut for cut, value in qualities.items() if value == best)
    assert np.array_equal(s > t, s > highest)


@pytest.mark.parametrize("rule", [Youden(), F1()])
@pytest.mark.parametrize("scale", [1.0, 1e-300, HUGE / 4])
def test_the_threshold_lies_half_way_between_the_classes(rule, scale):
    scores = np.array([0.0, 2.0, 4.0]) * scale
    assert rule.fit(scores, [0, 0, 1]) == pytest.approx(3.0 * scale)


@pytest.mark.parametrize("rule", [Youden(), F1()])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1.0, np.nextafter(1.0, 2.0)),
        (0.0, 5e-324),
        (-5e-324, 0.0),
        (5e-324, 1e-323),
        (-HUGE, HUGE),
        (np.nextafter(HUGE, 0), HUGE),
        (-HUGE, np.nextafter(-HUGE, 0)),
    ],
)
def test_adjacent_and_huge_floats_are_told_apart(rule, low, high):
    t = rule.fit([low, low, high], [0, 0, 1])
    assert low <= t < high


def test_scores_that_say_nothing_or_the_contrary():
    assert Youden().fit([2.0, 2.0, 2.0], [0, 1, 1]) == 2.0
    assert Youden().fit([1.0, 2.0], [1, 0]) == 2.0
    assert F1().fit([2.0, 2.0, 2.0], [0, 1, 1]) < 2.0


@quick
@given(normal=st.lists(st.one_of(FEW, WIDE), min_size=1, max_size=40), parts=st.tuples(st.integers(0, 40), st.just(40)))
def test_fpr_never_exceeds_q_and_is_the_lowest_such(normal, parts):
    s, allowed = np.array(normal), Fraction(*parts)
    t = Fpr(q=parts[0] / parts[1]).fit(np.append(s, 1e3), [0] * s.size + [1])
    with np.errstate(over="ignore"):
        lower = np.nextafter(t, -np.inf)
    rate = [Fraction(int((s > cut).sum()), s.size) for cut in (t, lower)]
    assert rate[0] <= allowed
    assert rate[1] > allowed or rate[0] == 1


@pytest.mark.parametrize(("q", "expected"), [(0.0, 9.0), (0.05, 9.0), (0.1, 8.0), (0.3, 6.0), (0.9, 0.0)])
def test_fpr_by_hand(q, expected):
    assert Fpr(q=q).fit(np.arange(10.0), np.zeros(10)) == expected


def test_fpr_is_not_fooled_by_rounding():
    assert 0.29 * 100 < 29
    assert Fpr(q=0.29).fit(np.arange(100.0), np.zeros(100)) == 70


def test_fpr_of_one_calls_everything_anomalous():
    assert Fpr(q=1.0).fit([3.0, 4.0], [0, 0]) < 3.0


def test_fpr_with_ties_stays_below_q():
    assert Fpr(q=0.5).fit([1.0, 2.0, 2.0, 2.0], [0] * 4) == 2.0


@quick
@given(
    normal=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    anomalous=st.lists(st.floats(-1e6, 1e6), max_size=5),
    q=st.floats(0, 1),
)
def test_normal_quantile_is_numpys_of_the_normal_scores(normal, anomalous, q):
    labels = [0] * len(normal) + [1] * len(anomalous)
    assert NormalQuantile(q=q).fit(normal + anomalous, labels) == np.quantile(np.array(normal), q)


def test_normal_quantile_by_hand():
    assert NormalQuantile(q=0.5).fit([1.0, 2.0, 99.0], [0, 0, 1]) == 1.5
    assert NormalQuantile(q=1.0).fit([1.0, 2.0, 99.0], [0, 0, 1]) == 2.0


@given(t=WIDE)
def test_fixed_is_what_it_is_told(t):
    assert Fixed(t=t).fit([1.0, 2.0], [0, 1]) == t
    assert Fixed(t=t).fit([], []) == t


@pytest.mark.parametrize("name", RULES)
@quick
@given(data=both_classes(), seed=st.integers(0, 99))
def test_the_order_of_the_scores_plays_no_part(name, data, seed):
    s, y = data
    order = np.random.default_rng(seed).permutation(s.size)
    np.testing.assert_equal(RULES[name]().fit(s[order], y[order]), RULES[name]().fit(s, y))


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if name != "fixed"])
def test_labels_that_lack_a_needed_class_are_refused(name):
    rule = RULES[name]()
    with pytest.raises(ValueError, match="normal"):
        rule.fit([1.0, 2.0], [1, 1])
    if rule.needs_anomalous:
        with pytest.raises(ValueError, match="anomalous"):
            rule.fit([1.0, 2.0], [0, 0])
    else:
        assert 1.0 <= rule.fit([1.0, 2.0], [0, 0]) <= 2.0


@pytest.mark.parametrize("name", ["fpr", "normal_quantile"])
def test_rules_on_normal_scores_never_look_at_the_anomalous_ones(name):
    fitted = [
        RULES[name]().fit([1.0, 2.0, 3.0, *extra], [0, 0, 0, 1, 1]) for extra in itertools.permutations((0.0, 9.0))
    ]
    assert fitted[0] == fitted[1] == RULES[name]().fit([1.0, 2.0, 3.0], [0, 0, 0])
