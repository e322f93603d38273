"""Simulations: do 95 % intervals hold the truth in 95 % of trials, and do tests reject what is true in 5 %?"""

import numpy as np
import pytest
from scipy import stats

from anomalybench.evaluate.paired_tests import p_value
from anomalybench.evaluate.uncertainty import interval, resample, standard_error

RESAMPLES = 400
"""Enough here: the error of a standard error from 400 resamples is 3.5 %. From 200 it is 5 %: .05 % less coverage."""
pytestmark = pytest.mark.slow


def distance(auroc):
    """How far apart two Gaussians of width 1 lie whose ROC AUC is that."""
    return np.sqrt(2) * stats.norm.ppf(auroc)


def area(scores, labels):
    ranks, n = stats.rankdata(scores), labels.sum()
    return (ranks[labels].sum() - n * (n + 1) / 2) / (n * (labels.size - n))


def drawn(rng, labels, resamples):
    return rng.poisson(1, (resamples, labels.size)).astype(np.float32)


def trial(rng, labels, auroc, resamples=RESAMPLES):
    """Intervals of ROC AUC and balanced accuracy, from images of a Gaussian model."""
    n_anomalous, n_normal = labels.sum(), (~labels).sum()
    cut = distance(auroc) / 2
    scores = rng.normal(labels * 2 * cut)
    right = (scores > cut) == labels
    values = {"auroc": area(scores, labels), "balanced_accuracy": (right[labels].mean() + right[~labels].mean()) / 2}
    found = resample(scores, labels, cut, drawn(rng, labels, resamples))
    return {name: interval(v, standard_error(v, found[name], n_anomalous, n_normal)) for name, v in values.items()}


@pytest.mark.parametrize("auroc", [0.7, 0.85, 0.95])
@pytest.mark.parametrize(
    ("anomalous", "normal", "trials", "resamples"), [(30, 30, 1600, 400), (12, 30, 1600, 400), (100, 100, 1000, 200)]
)
def test_intervals_hold_the_truth_in_93_to_97_percent_of_trials(anomalous, normal, trials, resamples, auroc):
    """Twelve defects at .95 are on the safe side: 98 %."""
    rng = np.random.default_rng(7)
    labels = np.repeat([True, False], [anomalous, normal])
    truth = {"auroc": auroc, "balanced_accuracy": stats.norm.cdf(distance(auroc) / 2)}
    inside = dict.fromkeys(truth, 0)
    for _ in range(trials):
        for name, (low, high) in trial(rng, labels, auroc, resamples).items():
            inside[name] += low <= truth[name] <= high
    most = 0.99 if (anomalous, auroc) == (12, 0.95) else 0.97
    for name, count in inside.items():
        assert 0.93 <= count / trials <= most, f"{name}: {count / trials:.3f}"


@pytest.mark.parametrize(
    ("anomalous", "normal", "auroc"), [(30, 30, 0.98), (12, 12, 0.85), (5, 10, 0.85), (5, 10, 0.98)]
)
def test_intervals_of_few_images_and_of_nearly_perfect_methods_are_no_shorter_than_promised(anomalous, normal, auroc):
    rng = np.random.default_rng(8)
    labels = np.repeat([True, False], [anomalous, normal])
    intervals = [trial(rng, labels, auroc)["auroc"] for _ in range(1000)]
    assert np.mean([low <= auroc <= high for low, high in intervals]) >= 0.93


def rejections(trials, auroc, other, seed=11):
    """How often two methods with common and own noise are told apart, on 60 + 60 images."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([True, False], 60)
    count = 0
    for _ in range(trials):
        common = rng.normal(size=labels.size)
        pair = [np.sqrt(0.5) * (common + rng.normal(size=labels.size)) + labels * distance(a) for a in (auroc, other)]
        weight = drawn(rng, labels, RESAMPLES // 2)
        a, b = (resample(scores, labels, 0.0, weight)["auroc"] for scores in pair)
        difference = area(pair[0], labels) - area(pair[1], labels)
        count += p_value(difference, float(np.nanstd(a - b, ddof=1))) < 0.05
    return count / trials


@pytest.mark.parametrize(("auroc", "least"), [(0.85, 0.03), (0.95, 0.015)])
def test_equally_good_methods_are_told_apart_in_5_percent_of_trials(auroc, least):
    """Near 1 in fewer: the test is on the safe side there."""
    assert least <= rejections(1000, auroc, auroc) <= 0.07


def test_a_real_difference_is_found():
    """.80 against .90 with a correlation of one half: the power is about 82 %; unpaired it would be about 62 %."""
    assert 0.75 <= rejections(300, 0.80, 0.90) <= 0.95
