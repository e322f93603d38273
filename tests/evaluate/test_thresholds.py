import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anomalybench.core.errors import UsageError
from anomalybench.core.parameters import build
from anomalybench.evaluate.thresholds import (
    F1,
    RULES,
    Fixed,
    Fpr,
    NormalQuantile,
    Youden,
    default_rule,
    unkept_promise,
)

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
def test_fpr_is_the_lowest_threshold_that_a_further_normal_image_exceeds_with_a_chance_of_q(normal, parts):
    """The last of n + 1 scores is as likely to have any rank: the chance is (those above + 1) / (n + 1)."""
    s, allowed = np.array(normal), Fraction(*parts)
    t = Fpr(q=parts[0] / parts[1]).fit(np.append(s, 1e3), [0] * s.size + [1])
    with np.errstate(over="ignore"):
        lower = np.nextafter(t, -np.inf)
    chance = [Fraction(int((s > cut).sum()) + 1, s.size + 1) for cut in (t, lower)]
    assert chance[0] <= max(allowed, Fraction(1, s.size + 1))
    assert chance[1] > allowed or chance[0] == 1
    assert NormalQuantile(q=1 - parts[0] / parts[1]).fit(s, np.zeros(s.size)) == t


@pytest.mark.parametrize("rule", [NormalQuantile(), Fpr(), NormalQuantile(q=0.8), Fpr(q=0.2)])
@pytest.mark.parametrize("n", [10, 19, 30, 40, 200])
def test_the_mean_false_alarm_rate_is_as_promised(rule, n):
    rng, promised = np.random.default_rng(n), 0.05 if rule in (NormalQuantile(), Fpr()) else 0.2
    rates = stats.norm.sf([rule.fit(rng.normal(size=n), np.zeros(n)) for _ in range(4000)])
    reachable = max(promised, 1 / (n + 1))
    assert reachable - 1 / (n + 1) < rates.mean() < reachable + 4 * rates.std() / 4000**0.5
    assert (unkept_promise(rule, n) is None) == (reachable == promised)


def test_a_promise_that_cannot_be_kept_is_said_in_words():
    said = "only 12 normal calibration images: a false-alarm rate of 5 % cannot be promised; 19 or more are needed"
    assert unkept_promise(NormalQuantile(), 12) == unkept_promise(Fpr(), 12) == said
    assert unkept_promise(NormalQuantile(), 19) is unkept_promise(Fpr(q=0.5), 1) is None
    assert "99 or more" in str(unkept_promise(Fpr(q=0.01), 98))
    assert "a false-alarm rate of 0 cannot be promised" in str(unkept_promise(Fpr(q=0.0), 10**6))
    assert unkept_promise(Youden(), 1) is unkept_promise(Fixed(t=0.0), 0) is None


@pytest.mark.parametrize(("q", "expected"), [(0.0, 9.0), (0.05, 9.0), (0.1, 9.0), (0.3, 7.0), (0.9, 1.0)])
def test_fpr_by_hand(q, expected):
    assert Fpr(q=q).fit(np.arange(10.0), np.zeros(10)) == expected


def test_fpr_is_not_fooled_by_rounding():
    """100 (1 - .29) is 71 but for rounding, and so is the rank."""
    assert Fpr(q=0.29).fit(np.arange(1.0, 100.0), np.zeros(99)) == 71
    assert NormalQuantile(q=0.57).fit(np.arange(1.0, 100.0), np.zeros(99)) == 57


def test_fpr_of_one_calls_everything_anomalous():
    assert Fpr(q=1.0).fit([3.0, 4.0], [0, 0]) < 3.0


def test_fpr_with_ties_stays_below_q():
    assert Fpr(q=0.5).fit([1.0, 2.0, 2.0, 2.0], [0] * 4) == 2.0


def test_normal_quantile_by_hand():
    assert NormalQuantile(q=0.5).fit([1.0, 2.0, 3.0, 99.0], [0, 0, 0, 1]) == 2.0
    assert NormalQuantile(q=1.0).fit([1.0, 2.0, 99.0], [0, 0, 1]) == 2.0


def held_out(rule, n_normal, n_anomalous, rng):
    """Mean balanced accuracy on new images over several Gaussian cases."""
    found = []
    for auroc, spread in itertools.product((0.8, 0.9, 0.95, 0.99), (1, 2)):
        mean = stats.norm.ppf(auroc) * (1 + spread**2) ** 0.5
        labels = np.repeat([0, 1], [n_normal, n_anomalous])
        for _ in range(60):
            scores = np.r_[rng.normal(size=n_normal), rng.normal(mean, spread, n_anomalous)]
            t = rule.fit(scores, labels)
            found.append((stats.norm.cdf(t) + stats.norm.sf(t, mean, spread)) / 2)
    return np.mean(found)


@pytest.mark.parametrize(("n_normal", "n_anomalous"), [(20, 1), (20, 5), (100, 2), (100, 20)])
def test_the_default_rule_is_the_better_one_for_the_counts(n_normal, n_anomalous):
    chosen = default_rule(n_normal, n_anomalous)
    (other,) = {"youden", "normal_quantile"} - {chosen.name}
    rates = [held_out(rule, n_normal, n_anomalous, np.random.default_rng(0)) for rule in (chosen, RULES[other]())]
    assert rates[0] > rates[1] + 0.005


@pytest.mark.parametrize(
    ("n_normal", "n_anomalous", "name"),
    [
        (50, 0, "normal_quantile"),
        (50, 5, "normal_quantile"),
        (50, 6, "youden"),
        (39, 2, "normal_quantile"),
        (39, 3, "youden"),
        (0, 6, "normal_quantile"),
    ],
)
def test_the_default_rule_goes_by_the_counts_alone(n_normal, n_anomalous, name):
    assert default_rule(n_normal, n_anomalous).name == name


@given(t=WIDE)
def test_fixed_is_what_it_is_told(t):
    assert Fixed(t=t).fit([1.0, 2.0], [0, 1]) == t
    assert Fixed(t=t).fit([], []) == t


def test_fixed_without_a_value_is_refused_with_the_way_to_give_it():
    with pytest.raises(UsageError, match=r"fixed needs t \(the threshold\)\. Give it: --set fixed\.t=0\.5"):
        build(Fixed, "fixed", {})


@pytest.mark.parametrize("rule", [Youden(), F1(), Fpr(), NormalQuantile(), Fixed(t=0.5)])
@quick
@given(data=both_classes(), seed=st.integers(0, 99))
def test_the_order_of_the_scores_plays_no_part(rule, data, seed):
    s, y = data
    order = np.random.default_rng(seed).permutation(s.size)
    np.testing.assert_equal(rule.fit(s[order], y[order]), rule.fit(s, y))


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
