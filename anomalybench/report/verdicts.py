"""What can be concluded from finished jobs about which of some methods is better, in numbers and in words."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from anomalybench.bench.store import Store, safe_name
from anomalybench.core.errors import StoreError, UsageError, unknown
from anomalybench.core.record import results_of
from anomalybench.evaluate import catalogue, paired_tests
from anomalybench.evaluate.paired_tests import Ranking
from anomalybench.evaluate.uncertainty import EXACT, LEVEL
from anomalybench.report import comparison, joint, leaderboard, naming
from anomalybench.report.comparison import Difference
from anomalybench.report.joint import Resamples


@dataclass(frozen=True)
class Pair:
    """Two methods on the same images.

    Attributes:
        a: The one with the higher mean.
        b: The other.
        whole: Over all categories that both have; p adjusted by Holm over all pairs.
        by_category: For each category; p adjusted by Holm over the categories.
        wilcoxon: Signed-rank p-value over the categories.
        too_few: Which class has too few test images for a verdict, in words.
    """

    a: str
    b: str
    whole: Difference
    by_category: dict[str, Difference]
    wilcoxon: float
    too_few: str | None = None

    @property
    def differ(self) -> bool:
        """Whether the difference over all categories is significant at 5 %, on enough images."""
        return self.whole.p < 1 - LEVEL and self.too_few is None

    def sentence(self) -> str:
        """What you may conclude."""
        names = f"{self.a} and {self.b}"
        if self.too_few is not None:
            return f"{names}: {self.too_few}."
        if math.isnan(self.whole.p):
            return f"{names}: nothing can be concluded; their records hold no resamples. Run them again."
        low, high = self.whole.interval
        seen = f"95 % interval {low:+.3f} to {high:+.3f}, p = {self.whole.p:.2g}"
        if self.differ:
            return f"{self.a} is better than {self.b} on images like these ({self.whole.value:+.3f}, {seen})."
        if abs(self.whole.value) < EXACT:
            return f"{names} have the same mean ({seen}); that does not show that they are equally good."
        return (
            f"{names} cannot be told apart ({self.whole.value:+.3f}, {seen}); "
            "that does not show that they are equally good."
        )


@dataclass(frozen=True)
class Comparison:
    """Methods that share dataset, protocol and test images.

    Attributes:
        dataset: Dataset, as in the tables.
        protocol: Protocol, as in the tables.
        metric: What is compared.
        pairs: Every two methods.
        ranking: Mean ranks over the categories that all share.
        remarks: What limits the conclusions.
    """

    dataset: str
    protocol: str
    metric: str
    pairs: list[Pair]
    ranking: Ranking
    remarks: list[str]


def comparisons(
    store: Store, dataset: str | None, protocol: str | None, methods: Sequence[str], metric: str
) -> list[Comparison]:
    """Every dataset and protocol on which at least two of the methods have finished jobs in common.

    Args:
        store: Where records and resamples lie.
        dataset: Only this one, by its plugin's name or as the tables call it.
        protocol: Only this one, likewise.
        methods: As the tables call them; all there are if empty.
        metric: One that has intervals.

    Raises:
        UsageError: A name that does not exist.
        StoreError: Nothing to compare.
    """
    if not store.results.is_dir():
        raise StoreError(f"{store.results}: no such folder. Name the one with your results: --results DIR.")
    if metric not in (sure := catalogue.names(has_interval=True)):
        raise unknown("metric", metric, sure)
    results = [result for record in store.records() if record.status == "ok" for result in results_of(record)]
    jobs = leaderboard.build(results).by_category
    known = sorted(jobs["method"].unique())
    if len(set(methods)) == 1:
        raise UsageError(f"compare {methods[0]}: with what? Known: {', '.join(known)}.")
    for name in methods:
        if name not in known:
            raise unknown("method in the results", name, known)
    chosen = jobs[jobs["method"].isin(list(methods) or known) & jobs[metric].notna()]
    for column, wanted in (("dataset", dataset), ("protocol", protocol)):
        if wanted is not None:
            matching = chosen[column].map(lambda label, wanted=wanted: wanted in (label, naming.plain_name(label)))
            if not matching.any():
                raise unknown(f"{column} in the results", wanted, chosen[column].unique())
            chosen = chosen[matching]
    resamples = functools.cache(store.resample(results))
    shared = [
        _comparison(str(d), str(p), group, metric, resamples)
        for (d, p), group in chosen.groupby(["dataset", "protocol"])
    ]
    found = [compared for compared in shared if compared is not None]
    if not found:
        raise StoreError(f"{store.results} holds no {metric} of two methods on the same images. Run some first.")
    return found


def draw(compared: Comparison, results: Path) -> list[Path]:
    """The critical-difference diagram of three methods or more on several categories; returns the files."""
    from anomalybench.report import critical_difference

    if len(compared.ranking.methods) < 3 or compared.ranking.n_categories < 2:
        return []
    name = safe_name(f"critical_difference_{compared.dataset}_{compared.protocol}_{compared.metric}")
    file = results / "figures" / f"{name}.png"
    try:
        critical_difference.draw(compared.ranking, compared.metric, file)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Name another: --results DIR.") from None
    return [file]


def _comparison(
    dataset: str, protocol: str, jobs: pd.DataFrame, metric: str, resamples: Resamples
) -> Comparison | None:
    groups = {str(method): group for method, group in jobs.groupby("method", sort=True)}
    pairs = [_pair(a, b, groups, metric, resamples) for a, b in itertools.combinations(groups, 2)]
    pairs = [pair for pair in pairs if pair.whole.n_categories]
    if not pairs:
        return None
    adjusted = paired_tests.holm([pair.whole.p for pair in pairs])
    pairs = [replace(pair, whole=replace(pair.whole, p=p)) for pair, p in zip(pairs, adjusted, strict=True)]
    ranking = comparison.ranking(groups, metric)
    return Comparison(dataset, protocol, metric, pairs, ranking, _remarks(jobs, ranking, pairs))


def _pair(a: str, b: str, groups: dict[str, pd.DataFrame], metric: str, resamples: Resamples) -> Pair:
    whole = comparison.difference(groups[a], groups[b], metric, resamples)
    if whole.value < 0:
        return _pair(b, a, groups, metric, resamples)
    by_category = comparison.by_category(groups[a], groups[b], metric, resamples)
    values = list(by_category.values())
    wilcoxon = paired_tests.wilcoxon([d.a for d in values], [d.b for d in values]) if values else float("nan")
    few = comparison.too_few(groups[a], metric, resamples) or comparison.too_few(groups[b], metric, resamples)
    return Pair(a, b, whole, by_category, wilcoxon, few)


def _remarks(jobs: pd.DataFrame, ranking: Ranking, pairs: Sequence[Pair]) -> list[str]:
    said = []
    k = ranking.n_categories
    if jobs["seed"].nunique() == 1:
        said.append(
            "One seed: intervals hold the chance of these test images, not that of training. Add --seeds 0,1,2."
        )
    least = 2 * 0.5**k if k else 1
    if k < 2:
        said.append(
            "One category: this holds for images like these; whether a method is better on products in general takes "
            "6 categories or more."
        )
    elif least >= 1 - LEVEL:
        said.append(
            f"{k} categories: the signed-rank test over categories cannot fall below p = {least:.2g}; whether a method "
            "is better on products in general takes 6 categories or more."
        )
    elif not all(pair.wilcoxon < 1 - LEVEL for pair in pairs if pair.differ):
        said.append("A difference on these images need not hold for other products: see the signed-rank test.")
    return said + _apart(jobs, pairs)


def _apart(jobs: pd.DataFrame, pairs: Sequence[Pair]) -> list[str]:
    """Remarks on what is not compared: categories that methods lack, and categories of other images."""
    places = joint.by_place(jobs.assign(metric=0.0), "metric")
    names = [place.category for place in places]
    mixed = sorted({name for name in names if names.count(name) > 1})
    said = []
    if mixed:
        said.append(
            f"Results on different images under one name are kept apart: {', '.join(mixed)}. Only results on the same "
            "images are compared; run the others again on the images you mean."
        )
    if any(pair.whole.n_categories < len(places) for pair in pairs):
        said.append("Some methods lack categories; each pair is compared on those that both have.")
    return said
