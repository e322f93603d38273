import math

import numpy as np
import pandas as pd
import pytest
from made_jobs import METRIC, Bench, drawn, flat, gaussian, table
from scipy import stats

from anomalybench.evaluate import paired_tests, uncertainty
from anomalybench.report import comparison
from anomalybench.report.verdicts import Pair


def kfold(rng, bench, auroc):
    """50 + 50 images in 5 folds, the scores of which have nothing to do with one another."""
    labels, weight = np.tile([0, 1], 50), drawn(rng, 100)
    for fold in range(5):
        part = np.flatnonzero(np.arange(100) // 2 % 5 == fold)
        yield bench.job(100 * fold + gaussian(rng, labels[part], auroc), labels[part], weight[:, part], fold=str(fold))


def seeds(rng, bench, auroc):
    """Three seeds that test two thirds of the same 90 + 90 images each, and score them nearly alike."""
    labels, weight, common = np.tile([0, 1], 90), drawn(rng, 180), rng.normal(size=180)
    for seed in range(3):
        part = rng.permutation(180)[:120]
        noise = np.sqrt(0.9) * common + np.sqrt(0.1) * rng.normal(size=180)
        scores = noise + labels * np.sqrt(2) * stats.norm.ppf(auroc)
        yield bench.job(scores[part], labels[part], weight[:, part], seed=seed)


def categories(rng, bench, auroc):
    """Four categories of 25 + 25 images, on average as good as said."""
    labels = np.tile([0, 1], 25)
    for i, better in enumerate((-0.1, -0.05, 0.05, 0.1)):
        yield bench.job(gaussian(rng, labels, auroc + better), labels, drawn(rng, 50), category="abcd"[i])


@pytest.mark.slow
@pytest.mark.parametrize("design", [kfold, seeds, categories])
def test_intervals_of_means_hold_the_truth_in_93_to_97_percent_of_trials(design):
    rng, inside, trials, widths = np.random.default_rng(21), 0, 700, []
    for _ in range(trials):
        bench = Bench()
        low, high = comparison.mean_interval(pd.DataFrame(design(rng, bench, 0.85)), METRIC, bench.resamples)
        inside += low <= 0.85 <= high
        widths.append(high - low)
    assert 0.925 <= inside / trials <= 0.975, f"{inside / trials:.3f}"


def test_a_difference_is_the_mean_over_categories_and_its_error_that_of_the_paired_resamples():
    bench = Bench()
    a, b = table(bench, 0.9, seed=1), table(bench, 0.7, seed=2)
    found = comparison.difference(a, b, METRIC, bench.resamples)
    assert (found.a, found.b, found.n_categories) == (
        pytest.approx(a[METRIC].mean()),
        pytest.approx(b[METRIC].mean()),
        3,
    )
    pairs = zip(a["job"], b["job"], strict=True)
    mean = np.mean([bench.drawn[one][METRIC] - bench.drawn[other][METRIC] for one, other in pairs], axis=0)
    error = (found.interval.high - found.interval.low) / 2 / uncertainty.Z
    assert error == pytest.approx(mean.std(), rel=0.12)  # categories are taken to be independent
    assert found.value == pytest.approx(found.a - found.b)
    assert found.p == pytest.approx(2 * stats.norm.sf(found.value / error))
    turned = comparison.difference(b, a, METRIC, bench.resamples)
    assert (turned.value, turned.p) == pytest.approx((-found.value, found.p))


def test_only_images_that_both_have_seen_count():
    bench = Bench()
    a, b = table(bench, 0.9, seed=1), table(bench, 0.7, seed=2, where="bcd")
    found = comparison.difference(a, b, METRIC, bench.resamples)
    assert found.n_categories == 2
    assert found.a == pytest.approx(a[METRIC][1:].mean())
    assert found.b == pytest.approx(b[METRIC][:2].mean())
    apart = comparison.difference(a, table(bench, 0.7, where="xyz"), METRIC, bench.resamples)
    assert apart.n_categories == 0
    assert math.isnan(apart.p)


def test_only_seeds_and_folds_that_both_have_finished_count():
    bench = Bench()
    a = pd.concat([table(bench, auroc, where="a").assign(seed=i) for i, auroc in enumerate((0.9, 0.6))])
    b = table(bench, 0.7, where="a", seed=3).assign(seed=1)
    found = comparison.difference(a, b, METRIC, bench.resamples)
    assert (found.a, found.b) == (a[METRIC].iloc[1], b[METRIC].iloc[0])
    assert comparison.difference(a, b.assign(fold="1"), METRIC, bench.resamples).n_categories == 0


def test_a_method_does_not_differ_from_itself():
    bench = Bench()
    a = table(bench, 0.8)
    found = comparison.difference(a, a, METRIC, bench.resamples)
    assert (found.value, found.p, found.interval) == (0, 1, (0, 0))


def test_a_perfect_method_is_better_than_a_blind_one_though_no_resample_changes_either():
    bench = Bench()
    found = comparison.difference(flat(bench, 1.0), flat(bench, 0.0), METRIC, bench.resamples)
    assert found.value == 0.5
    assert found.p < 1e-3
    assert 0 < found.interval.low < 0.5 < found.interval.high
    assert comparison.difference(flat(bench, 1.0), flat(bench, 1.0), METRIC, bench.resamples).p == 1
    few = comparison.difference(flat(bench, 1.0, 2), flat(bench, 0.0, 2), METRIC, bench.resamples)
    assert few.p > found.p


def test_nothing_is_known_of_a_difference_without_resamples():
    bench = Bench()
    a, b = table(bench, 0.9, seed=1), table(bench, 0.7, seed=2)
    del bench.drawn[b["job"][1]]
    found = comparison.difference(a, b, METRIC, bench.resamples)
    assert found.value == pytest.approx(a[METRIC].mean() - b[METRIC].mean())
    assert math.isnan(found.p)
    assert all(map(math.isnan, comparison.mean_interval(b, METRIC, bench.resamples)))
    single = comparison.by_category(a, b, METRIC, bench.resamples)
    assert [math.isnan(single[c].p) for c in "abc"] == [False, True, False]


def test_each_category_by_itself_with_holm():
    bench = Bench()
    a, b = table(bench, 0.85, seed=1), table(bench, 0.75, seed=2, where="abcd")
    found = comparison.by_category(a, b, METRIC, bench.resamples)
    raw = [
        comparison.difference(a[a["category"] == c], b[b["category"] == c], METRIC, bench.resamples).p for c in "abc"
    ]
    assert list(found) == list("abc")
    assert [d.p for d in found.values()] == pytest.approx(paired_tests.holm(raw))
    assert [d.p for d in found.values()] != pytest.approx(raw)


def test_an_interval_of_perfect_jobs_shrinks_with_images_and_with_categories():
    bench = Bench()
    low = lambda jobs: comparison.mean_interval(jobs, METRIC, bench.resamples).low  # noqa: E731
    few, many, several = flat(bench, 1.0, 8), flat(bench, 1.0, 80), flat(bench, 1.0, 8, "abcd")
    assert low(few) < low(several) < 1
    assert low(few) < low(many) < 1
    twice = pd.concat([few, few.assign(seed=1)])
    assert low(twice) == pytest.approx(low(few))
    folds = pd.concat([few, few.assign(fold="1")])
    assert low(few) < low(folds) < 1


def better(rng, n_seeds, training, labels):
    """Whether two equally good methods are told apart whose training shifts the distance of the classes."""
    bench, weight, common = Bench(), drawn(rng, labels.size), rng.normal(size=(3, labels.size))
    groups = [[], []]
    for seed in range(n_seeds):
        for jobs, own in zip(groups, common[:2], strict=True):
            noise = np.sqrt(0.5) * common[2] + np.sqrt(0.4) * own + np.sqrt(0.1) * rng.normal(size=labels.size)
            shift = np.sqrt(2) * stats.norm.ppf(0.85) + training * rng.normal()
            jobs.append(bench.job(noise + labels * shift, labels, weight, seed=seed))
    a, b = map(pd.DataFrame, groups)
    found = comparison.difference(a, b, METRIC, bench.resamples)
    low, high = comparison.mean_interval(a, METRIC, bench.resamples)
    return found.p < 0.05, low <= 0.85 <= high


@pytest.mark.slow
@pytest.mark.parametrize(("n_seeds", "most"), [(3, 0.1), (5, 0.08)])
def test_training_counts_with_several_seeds(n_seeds, most):
    """Sd of ROC AUC from training .025, 200 images.

    600 trials, 1 / 2 / 3 / 5 seeds, false "better": 20 / 8 / 6 / 6 %; from test images alone 20 / 14 / 12 / 10 %.
    Intervals of the mean: 86 / 94 / 94 / 94 %."""
    rng, labels = np.random.default_rng(3), np.tile([0, 1], 100)
    density = stats.norm.pdf(stats.norm.ppf(0.85)) / np.sqrt(2)  # of ROC AUC by distance
    found = np.mean([better(rng, n_seeds, 0.025 / density, labels) for _ in range(300)], axis=0)
    assert found[0] <= most
    assert found[1] >= 0.91


def test_seeds_that_disagree_make_a_difference_less_sure_and_seeds_that_agree_do_not():
    bench = Bench()
    a, b = table(bench, 0.9, where="a", seed=1), table(bench, 0.8, where="a", seed=2)
    seeds = lambda jobs, *shifts: pd.concat(  # noqa: E731
        [jobs.assign(seed=i, **{METRIC: jobs[METRIC] + shift}) for i, shift in enumerate(shifts)]
    )
    one = comparison.difference(a, b, METRIC, bench.resamples)
    same, moved = (
        comparison.difference(seeds(a, *shifts), seeds(b, 0, 0, 0), METRIC, bench.resamples)
        for shifts in ((0, 0, 0), (-0.05, 0, 0.05))
    )
    assert (same.value, same.p, *same.interval) == pytest.approx((one.value, one.p, *one.interval))
    assert moved.value == pytest.approx(one.value)
    assert moved.p > 2 * one.p
    assert moved.interval.low < one.interval.low
    low, high = comparison.mean_interval(seeds(a, -0.05, 0, 0.05), METRIC, bench.resamples)
    narrow = comparison.mean_interval(a, METRIC, bench.resamples)
    assert low < narrow.low < narrow.high < high


@pytest.mark.slow
def test_without_training_noise_several_seeds_cost_no_power():
    rng, labels = np.random.default_rng(4), np.tile([0, 1], 100)
    found = np.mean([better(rng, 3, 0.0, labels) for _ in range(200)], axis=0)
    assert 0.01 <= found[0] <= 0.09
    assert found[1] >= 0.91


def test_what_you_may_conclude_in_words():
    bench = Bench()
    a, b = table(bench, 0.95, seed=1), table(bench, 0.6, seed=2)
    clear, none = (comparison.difference(a, one, METRIC, bench.resamples) for one in (b, a))
    assert Pair("a", "b", clear, {}, 1).sentence().startswith("a is better than b on images like these (+0.")
    said = Pair("a", "b", none, {}, 1).sentence()
    assert said.startswith("a and b have the same mean")
    assert "+0.000 " not in said.partition("(")[0]
    few = Pair("a", "b", clear, {}, 1, "only 1 defective test image: says nothing")
    assert few.sentence() == "a and b: only 1 defective test image: says nothing."
    assert not few.differ
