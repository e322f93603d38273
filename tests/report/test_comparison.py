import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from anomalybench.evaluate import statistics
from anomalybench.report import comparison

B = 400
METRIC = "auroc"


class Bench:
    """Jobs of made-up scores: their rows, as in the table of jobs, and their resamples."""

    def __init__(self):
        self.drawn = {}

    def job(self, scores, labels, weight, **where):
        labels = labels.astype(bool)
        ranks, n = stats.rankdata(scores), labels.sum()
        job = f"job {len(self.drawn)}"
        self.drawn[job] = statistics.resample(scores, labels, 0.0, weight)[METRIC]
        value = (ranks[labels].sum() - n * (n + 1) / 2) / (n * (labels.size - n))
        counts = {"tp": n, "fn": 0, "tn": labels.size - n, "fp": 0}
        return {"job": job, "category": "a", "seed": 0, "fold": "", METRIC: value, **counts, **where}

    def resamples(self, job, metric):
        return self.drawn.get(job)


def gaussian(rng, labels, auroc):
    return rng.normal(labels * np.sqrt(2) * stats.norm.ppf(auroc))


def drawn(rng, n):
    return rng.poisson(1, (B, n)).astype(np.float32)


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


def table(bench, auroc, *, where="abc", seed=0, common=0, n=40):
    """One job per category; methods of one `common` are compared on images with the same weights and half the noise."""
    rows = []
    for category in where:
        shared = np.random.default_rng([common, ord(category)])
        labels, weight, noise = np.tile([0, 1], n), drawn(shared, 2 * n), shared.normal(size=2 * n)
        own = np.random.default_rng([seed, ord(category)]).normal(size=2 * n)
        scores = np.sqrt(0.5) * (noise + own) + labels * np.sqrt(2) * stats.norm.ppf(auroc)
        rows.append(bench.job(scores, labels, weight, category=category))
    return pd.DataFrame(rows)


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
    mean = np.mean([bench.drawn[one] - bench.drawn[other] for one, other in pairs], axis=0)
    error = (found.interval.high - found.interval.low) / 2 / statistics.Z
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


def flat(bench, value, rows=12, where="a"):
    """A method that is equally good in every resample, as a perfect one or one of a single score."""
    labels = np.tile([0, 1], rows)
    scores = labels * value
    return pd.DataFrame([bench.job(scores, labels, np.ones((B, 2 * rows)), category=c) for c in where])


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
    assert [d.p for d in found.values()] == pytest.approx(statistics.holm(raw))
    assert [d.p for d in found.values()] != pytest.approx(raw)


def test_ties_with_the_best():
    bench = Bench()
    groups = {
        "good": table(bench, 0.93, seed=1),
        "as good": table(bench, 0.92, seed=2),
        "bad": table(bench, 0.6, seed=3),
        "lucky": table(bench, 0.999, seed=4, where="a"),
        "old": table(bench, 0.6, seed=5),
        "failed": table(bench, 0.9)[:0],
        "elsewhere": table(bench, 0.9, where="z"),
    }
    for job in groups["old"]["job"]:
        del bench.drawn[job]
    ties = comparison.tied_with_best(groups, METRIC, bench.resamples)
    best = max(("good", "as good"), key=lambda name: groups[name][METRIC].mean())
    assert ties == {
        "good": True, "as good": True, "bad": False, "lucky": ties["lucky"], "old": None, "failed": None,
        "elsewhere": None,
    }  # fmt: skip
    alone = comparison.difference(groups[best], groups["lucky"], METRIC, bench.resamples)
    assert alone.n_categories == 1
    assert comparison.tied_with_best({"failed": groups["failed"]}, METRIC, bench.resamples) == {"failed": None}


def test_the_best_is_one_with_most_categories_however_good_another_is_in_few():
    bench = Bench()
    groups = {"good": table(bench, 0.8, seed=1), "lucky": table(bench, 0.999, seed=4, where="a")}
    assert comparison.tied_with_best(groups, METRIC, bench.resamples) == {"good": True, "lucky": False}


@pytest.mark.slow
def test_of_equally_good_methods_one_is_set_apart_in_5_percent_of_benchmarks_at_most():
    rng, apart, labels = np.random.default_rng(0), 0, np.tile([0, 1], 60)
    for _ in range(200):
        bench, weight, common = Bench(), drawn(rng, 120), rng.normal(size=120) + 1.5 * labels
        noise = rng.normal(size=(5, 120))
        groups = {f"{i}": pd.DataFrame([bench.job(common + one, labels, weight)]) for i, one in enumerate(noise)}
        apart += not all(comparison.tied_with_best(groups, METRIC, bench.resamples).values())
    assert apart / 200 <= 0.06


def test_below_a_floor():
    bench = Bench()
    floor, weak = table(bench, 0.8, seed=1), table(bench, 0.5, seed=2)
    good, like, none = table(bench, 0.95, seed=3), table(bench, 0.78, seed=4), table(bench, 0.9)[:0]
    below = lambda jobs, *floors: comparison.below(jobs, floors, METRIC, bench.resamples)  # noqa: E731
    assert below(good, floor, weak) is False
    assert below(like, floor, weak) is True
    assert below(like, weak, floor) is True
    assert below(like, weak) is False
    assert below(good) is below(good, none) is below(none, floor) is None
    assert below(good, none, floor) is False
    bench.drawn = {}
    assert below(good, floor) is None


def test_a_floor_counts_only_where_it_and_the_method_have_both_been():
    """A floor of one easy category is no floor for the mean over hard ones."""
    bench = Bench()
    method = pd.concat([table(bench, 0.99, where="a", seed=1), table(bench, 0.7, where="bcd", seed=2)])
    easy = table(bench, 0.9, where="a", seed=3)
    assert method[METRIC].mean() < easy[METRIC].mean()
    assert comparison.below(method, [easy], METRIC, bench.resamples) is False
    assert comparison.below(method, [table(bench, 0.9, where="bz", seed=3)], METRIC, bench.resamples) is True
    mixed = pd.concat([table(bench, 0.3, where="b", seed=3), table(bench, 0.9999, where="yz")])
    assert comparison.below(method, [mixed], METRIC, bench.resamples) is False
    assert comparison.below(method, [table(bench, 0.9, where="z")], METRIC, bench.resamples) is None


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


def test_ranks_over_the_categories_that_all_share():
    bench = Bench()
    groups = {"a": table(bench, 0.95), "b": table(bench, 0.6, where="bcd"), "c": table(bench, 0.8, where="abcd")}
    found = comparison.ranking(groups, METRIC)
    assert (found.methods, found.ranks, found.n_categories) == (["a", "c", "b"], [1, 2, 3], 2)
