"""Jobs of made-up scores, as the table of jobs has them, for tests of comparisons."""

import numpy as np
import pandas as pd
from scipy import stats

from anomalybench.evaluate import uncertainty

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
        self.drawn[job] = uncertainty.resample(scores, labels, 0.0, weight)
        value = (ranks[labels].sum() - n * (n + 1) / 2) / (n * (labels.size - n))
        counts = {"tp": n, "fn": 0, "tn": labels.size - n, "fp": 0}
        return {"job": job, "category": "a", "seed": 0, "fold": "", METRIC: value, **counts, **where}

    def resamples(self, job, metric):
        return self.drawn.get(job, {}).get(metric)


def gaussian(rng, labels, auroc):
    return rng.normal(labels * np.sqrt(2) * stats.norm.ppf(auroc))


def drawn(rng, n):
    return rng.poisson(1, (B, n)).astype(np.float32)


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


def flat(bench, value, rows=12, where="a"):
    """A method that is equally good in every resample, as a perfect one or one of a single score."""
    labels = np.tile([0, 1], rows)
    scores = labels * value
    weights = (drawn(np.random.default_rng(ord(c)), 2 * rows) for c in where)
    return pd.DataFrame([bench.job(scores, labels, w, category=c) for c, w in zip(where, weights, strict=True)])
