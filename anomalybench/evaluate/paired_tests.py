"""Which method is better: paired tests, the set that holds the best, and ranks over many categories.

Paired tests reject true null hypotheses in 3 to 5 % of trials (60 + 60 images at .7 to .95), and ever less often nearer
1 and with fewer images: there they have little power.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from anomalybench.evaluate.uncertainty import EXACT, LEVEL

Floats = NDArray[np.float64]
_DRAWS = 4000


def p_value(difference: float, spread: float, freedom: float = math.inf) -> float:
    """Two-sided p-value of a difference; 1 if the methods never differ, NaN if unknown.

    Args:
        difference: Mean of the one method minus that of the other.
        spread: Its standard error.
        freedom: Degrees of freedom of the standard error.
    """
    if not math.isfinite(difference + spread):
        return math.nan
    if spread < EXACT:
        return 1.0 if abs(difference) < EXACT else math.nan
    return float(2 * stats.t.sf(abs(difference) / spread, freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values (Holm 1979); NaN stays NaN and does not count."""
    p = np.asarray(p_values, float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1))
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def in_normal_units(difference: float, spread: float, freedom: float = math.inf) -> float:
    """A difference in standard errors, as a normal number that is as unlikely; 0 where nothing is known."""
    p = p_value(difference, spread, freedom)
    return 0.0 if math.isnan(p) else float(math.copysign(stats.norm.isf(max(p, 1e-300) / 2), difference))


def tied_with_best(values: Floats, covariance: Floats, standing: Callable[[Floats], float]) -> NDArray[np.bool_]:
    """Which of k methods may be the best one, at 5 %.

    Methods are set apart one at a time, as in a model confidence set (Hansen, Lunde and Nason 2011): the one that lies
    furthest below another, while two tests both reject. The first asks whether all that are left are equally good, by
    the greatest distance of one from the mean of the others or from any other; the second whether this one can be
    the best, by its distance from those above it (multiple comparisons with the best, Hsu 1984). Quantiles are those
    of normal numbers with the covariance of the methods.

    Eight methods by ROC AUC, scores correlated .3 / .8, Holm's adjustment over all pairs beside this one: of equally
    good ones some is set apart in 2.0 / 0.0 % beside 2.8 / 1.6 % of 500 benchmarks of 30 + 30 images, and in 4.4 / 1.2
    beside 3.8 / 3.2 % of 60 + 60. Of 300 benchmarks of 60 + 60 images, one of seven that lie .06 below the best is set
    apart in 4 / 19 beside 8 / 43 %, and a single one that lies .06 below seven in 16 / 51 beside 29 / 79 %.

    Args:
        values: k means, higher = better.
        covariance: k x k, of their errors.
        standing: For a contrast (k numbers) the sum of the means, each taken so often, in normal units.
    """
    k = len(values)
    tied = np.ones(k, bool)
    eye = np.eye(k)
    above = np.array([[standing(eye[j] - eye[i]) if i != j else 0.0 for j in range(k)] for i in range(k)])
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(k), covariance, _DRAWS, method="eigh")
    while tied.sum() > 1:
        left = np.flatnonzero(tied)
        worst = left[np.argmax(above[np.ix_(left, left)].max(1))]
        apart = _scaled(draws[:, left] - draws[:, [worst]])
        out_of_reach = above[worst, left].max() > np.quantile(apart.max(1), LEVEL)
        if not out_of_reach or _all_alike(left, above, draws, standing):
            break
        tied[worst] = False
    return tied


def _all_alike(left: NDArray[np.int_], above: Floats, draws: Floats, standing: Callable[[Floats], float]) -> bool:
    """Whether the methods that are left may all be equally good.

    Equally good methods have equal errors, so those of the distances from the mean are pooled: estimated one by one,
    whatever lies high by chance has a small error as well (ROC AUC near 1), and some method was set apart in 7 to 10 %.
    """
    k, m = len(above), len(left)
    means = np.zeros((m, k))
    means[:, left] = np.full((m, m), -1 / (m - 1))
    means[np.arange(m), left] = 1
    pairs = np.array([np.eye(k)[i] - np.eye(k)[j] for i, j in combinations(left, 2)])
    away = draws @ means.T
    pooled = max(float(np.sqrt(away.var(0).mean())), EXACT)
    distances = [abs(standing(one)) * spread / pooled for one, spread in zip(means, away.std(0), strict=True)]
    seen = [max(distances), above[np.ix_(left, left)].max()]
    found = np.array([np.abs(away).max(1) / pooled, np.abs(_scaled(draws @ pairs.T)).max(1)])
    limits = np.maximum(np.quantile(found, LEVEL, axis=1), EXACT)
    return bool((seen / limits).max() <= np.quantile((found / limits[:, None]).max(0), LEVEL))


def _scaled(draws: Floats) -> Floats:
    """Columns of standard deviation 1; 0 where nothing varies."""
    spread = draws.std(0)
    return np.asarray(np.divide(draws, spread, where=spread > EXACT, out=np.zeros_like(draws)))


@dataclass(frozen=True)
class Ranking:
    """Methods over many categories (Demsar 2006; Benavoli et al. 2016).

    Attributes:
        methods: Names, the best mean rank first.
        ranks: Mean rank of each; 1 is best, ties share.
        p_values: Holm-adjusted Wilcoxon signed-rank p-value of each pair of names, in the order of `methods`.
        cliques: Largest runs of neighbours in rank of which no two differ at the 5 % level.
        n_categories: How many categories all methods share.
    """

    methods: list[str]
    ranks: list[float]
    p_values: dict[tuple[str, str], float]
    cliques: list[list[str]]
    n_categories: int


def rank(values: Mapping[str, Sequence[float]]) -> Ranking:
    """Compare methods by their values in k categories (higher = better), listed in the same order for all."""
    names = sorted(values)
    table = np.array([values[name] for name in names], float)
    mean = stats.rankdata(-table, axis=0).mean(axis=1) if table.size else np.full(len(names), np.nan)
    order = sorted(range(len(names)), key=lambda i: (mean[i] if table.size else 0.0, names[i]))
    methods = [names[i] for i in order]
    pairs = list(combinations(methods, 2))
    adjusted = holm([wilcoxon(values[a], values[b]) for a, b in pairs])
    p_values = dict(zip(pairs, adjusted, strict=True))
    return Ranking(methods, [float(mean[i]) for i in order], p_values, _cliques(methods, p_values), table.shape[1])


def wilcoxon(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided Wilcoxon signed-rank p-value of k paired values, exact for k up to 50 without ties; 1 if all agree."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    return float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0


def _cliques(methods: Sequence[str], p_values: Mapping[tuple[str, str], float]) -> list[list[str]]:
    found: list[list[str]] = []
    for start in range(len(methods)):
        stop = start + 1
        while stop < len(methods) and all(p_values[m, methods[stop]] >= 1 - LEVEL for m in methods[start:stop]):
            stop += 1
        run = list(methods[start:stop])
        if len(run) > 1 and not any(set(run) <= set(other) for other in found):
            found.append(run)
    return found
