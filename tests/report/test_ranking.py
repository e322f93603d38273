"""Who is ranked, tied with the best, or above a floor."""

import numpy as np
import pandas as pd
import pytest
from made_jobs import METRIC, Bench, drawn, gaussian, table

from anomalybench.report import comparison


def test_ties_with_the_best():
    bench = Bench()
    groups = {
        "good": table(bench, 0.93, seed=1),
        "as good": table(bench, 0.92, seed=2),
        "bad": table(bench, 0.6, seed=3),
        "lucky": table(bench, 0.999, seed=4, where="a"),
        "old": table(bench, 0.6, seed=5),
        "failed": table(bench, 0.9)[:0],
    }
    for job in groups["old"]["job"]:
        del bench.drawn[job]
    ties = comparison.tied_with_best(groups, METRIC, bench.resamples)
    assert ties == {"good": True, "as good": True, "bad": False, "lucky": None, "old": None, "failed": None}
    assert comparison.tied_with_best({"failed": groups["failed"]}, METRIC, bench.resamples) == {"failed": None}


def test_only_what_ran_on_all_categories_is_ranked_however_good_it_is_in_few():
    bench = Bench()
    groups = {"good": table(bench, 0.8, seed=1), "lucky": table(bench, 0.999, seed=4, where="a")}
    assert comparison.tied_with_best(groups, METRIC, bench.resamples) == {"good": True, "lucky": None}
    assert comparison.unranked(groups, METRIC, bench.resamples) == {"lucky": "only 1 of 3 categories"}
    assert comparison.ranking(groups, METRIC).methods == ["good"]


def test_categories_of_other_images_are_other_categories():
    bench = Bench()
    a, b = table(bench, 0.9, where="a", seed=1), table(bench, 0.7, where="a", seed=2)
    same, other = a.assign(fingerprint="1" * 16), b.assign(fingerprint="2" * 16)
    assert comparison.difference(same, b.assign(fingerprint="1" * 16), METRIC, bench.resamples).n_categories == 1
    assert comparison.difference(same, other, METRIC, bench.resamples).n_categories == 0
    assert comparison.by_category(same, other, METRIC, bench.resamples) == {}
    assert set(comparison.tied_with_best({"a": same, "b": other}, METRIC, bench.resamples).values()) == {None}
    both = pd.concat([same, other])
    assert list(comparison.by_category(both, both, METRIC, bench.resamples)) == ["a (11111111)", "a (22222222)"]


@pytest.mark.parametrize(("bad", "good", "words"), [
    (1, 40, "only 1 defective test image: says nothing"), (4, 40, "only 4 defective test images: says nothing"),
    (40, 3, "only 3 normal test images: says nothing"), (5, 5, None),
])  # fmt: skip
def test_too_few_test_images_rank_nothing(bad, good, words):
    bench, rng = Bench(), np.random.default_rng(0)
    labels, weight = np.repeat([1, 0], [bad, good]), drawn(rng, bad + good)
    job = lambda auroc: pd.DataFrame([bench.job(gaussian(rng, labels, auroc), labels, weight)])  # noqa: E731
    groups = {"a": job(0.95), "floor": job(0.5)}
    assert comparison.unranked(groups, METRIC, bench.resamples) == (
        {} if words is None else dict.fromkeys(groups, words)
    )
    said = {*comparison.tied_with_best(groups, METRIC, bench.resamples).values()}
    said.add(comparison.above(groups["a"], [groups["floor"]], METRIC, bench.resamples))
    assert (said == {None}) is (words is not None)


def test_folds_count_together_and_an_image_that_several_test_counts_once():
    bench, rng = Bench(), np.random.default_rng(0)
    labels = np.repeat([1, 0], [2, 4])
    apart = pd.DataFrame([bench.job(gaussian(rng, labels, 0.9), labels, drawn(rng, 6), fold=str(i)) for i in range(3)])
    assert comparison.too_few(apart, METRIC, bench.resamples) is None  # 6 and 12 images
    weight = drawn(rng, 6)
    weights = [np.hstack([drawn(rng, 2), weight[:, 2:]]) for _ in range(3)]
    jobs = [bench.job(gaussian(rng, labels, 0.9), labels, w, fold=str(i)) for i, w in enumerate(weights)]
    alike = pd.DataFrame(jobs)
    assert "only 4 normal" in comparison.too_few(alike, METRIC, bench.resamples)
    seeds = pd.DataFrame([bench.job(gaussian(rng, labels, 0.9), labels, drawn(rng, 6), seed=i) for i in range(3)])
    assert "only 2 defective" in comparison.too_few(seeds, METRIC, bench.resamples)


@pytest.mark.slow
def test_of_equally_good_methods_one_is_set_apart_in_5_percent_of_benchmarks_at_most():
    rng, apart, labels = np.random.default_rng(0), 0, np.tile([0, 1], 60)
    for _ in range(200):
        bench, weight, common = Bench(), drawn(rng, 120), rng.normal(size=120) + 1.5 * labels
        noise = rng.normal(size=(5, 120))
        groups = {f"{i}": pd.DataFrame([bench.job(common + one, labels, weight)]) for i, one in enumerate(noise)}
        apart += not all(comparison.tied_with_best(groups, METRIC, bench.resamples).values())
    assert apart / 200 <= 0.06


def test_above_floors():
    bench = Bench()
    floor, weak = table(bench, 0.8, seed=1), table(bench, 0.5, seed=2)
    good, like, none = table(bench, 0.95, seed=3), table(bench, 0.78, seed=4), table(bench, 0.9)[:0]
    above = lambda jobs, *floors: comparison.above(jobs, floors, METRIC, bench.resamples)  # noqa: E731
    assert above(good, floor, weak) is True
    assert above(like, floor, weak) is False
    assert above(like, weak, floor) is False
    assert above(like, weak) is True
    assert above(good) is above(good, none) is above(none, floor) is None
    assert above(good, none, floor) is True
    bench.drawn = {}
    assert above(good, floor) is None


def test_a_floor_counts_only_where_it_and_the_method_have_both_been():
    """A floor of one easy category is no floor for the mean over hard ones."""
    bench = Bench()
    method = pd.concat([table(bench, 0.99, where="a", seed=1), table(bench, 0.7, where="bcd", seed=2)])
    easy = table(bench, 0.9, where="a", seed=3)
    assert method[METRIC].mean() < easy[METRIC].mean()
    assert comparison.above(method, [easy], METRIC, bench.resamples) is True
    assert comparison.above(method, [table(bench, 0.9, where="bz", seed=3)], METRIC, bench.resamples) is False
    mixed = pd.concat([table(bench, 0.3, where="b", seed=3), table(bench, 0.9999, where="yz")])
    assert comparison.above(method, [mixed], METRIC, bench.resamples) is True
    assert comparison.above(method, [table(bench, 0.9, where="z")], METRIC, bench.resamples) is None


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 0.8])
def test_a_method_as_good_as_its_floor_passes_in_5_percent_of_trials(common):
    """1,000 trials of 60 + 60 images, uncorrelated / .8: 5.4 and 3.3 %; by the floor's value alone 7.2 and 0.2 %."""
    rng, labels, passed = np.random.default_rng(5), np.tile([0, 1], 60), 0
    for _ in range(300):
        bench, weight, noise = Bench(), drawn(rng, 120), rng.normal(size=(3, 120))
        pair = [np.sqrt(common) * noise[2] + np.sqrt(1 - common) * own + labels for own in noise[:2]]
        a, b = (pd.DataFrame([bench.job(scores, labels, weight)]) for scores in pair)
        passed += comparison.above(a, [b], METRIC, bench.resamples)
    assert 0.02 <= passed / 300 <= 0.08


def test_ranks_over_the_categories_that_all_share():
    bench = Bench()
    groups = {"a": table(bench, 0.95), "b": table(bench, 0.6, where="bcd"), "c": table(bench, 0.8, where="bce")}
    found = comparison.ranking(groups, METRIC)
    assert (found.methods, found.ranks, found.n_categories) == (["a", "c", "b"], [1, 2, 3], 2)
