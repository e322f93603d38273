"""The best method of a run on a category, and the job that stands for it.

Methods are ranked as on the leaderboard: by ROC AUC, the mean over folds and seeds. Only means over the same folds and
seeds are compared: a method whose other jobs failed may have had the easy ones. Of the best one's jobs the first seed
and fold stands for it: to pick the seed that tested best would be to pick by luck.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from anomalybench.bench.store import Store, selection
from anomalybench.bench.store.selection import Selection
from anomalybench.core.errors import UsageError, shortened, unknown
from anomalybench.core.job import EXTERNAL
from anomalybench.core.model_card import CARD
from anomalybench.core.record import Record, Result
from anomalybench.evaluate.catalogue import RANKING


def ranked(results: Iterable[Result]) -> list[tuple[Result, ...]]:
    """Results by method, the best mean ROC AUC first, equal ones sorted by name.

    Left out are other tools, whose models we do not have, and methods that have no ROC AUC for a seed and fold that
    another method has it for. Where every method lacks one, those with the most stay.

    Args:
        results: Of one category, split by one protocol.
    """
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        ours = not result.record.job.method.name.startswith(EXTERNAL)
        if ours and result.metrics.get(RANKING) is not None:
            groups[method_key(result.record)].append(result)
    splits = {name: {(r.record.job.seed, r.record.job.fold) for r in group} for name, group in groups.items()}
    most = max(map(len, splits.values()), default=0)
    whole = [name for name in groups if len(splits[name]) == most]
    return [tuple(groups[name]) for name in sorted(whole, key=lambda name: (-_mean(groups[name]), name))]


def of_run(text: str, store: Store) -> Result:
    """The first job of the best method of a run.

    Args:
        text: Name of a run, followed by `/CATEGORY` where it has several.
        store: Where its results lie.

    Raises:
        UsageError: There is no such run or category, several are meant, or none has a ROC AUC.
    """
    name, category, results = _run(text, store)
    places = sorted({place(result.record) for result in results})
    if category:
        places = [place for place in places if category in (place.category, f"{place.dataset}/{place.category}")]
        if not places:
            raise unknown(f"category of run {shortened(name)}", category, {r.record.job.category for r in results})
    if len(places) > 1:
        raise UsageError(
            f"best:{text}: this run has several categories or protocols, and a model is for one: "
            f"{', '.join(map(str, places))}. Write best:{name}/CATEGORY, or name a job by how its id begins."
        )
    order = ranked(result for result in results if place(result.record) == places[0])
    if not order:
        raise UsageError(
            f"best:{text}: none of its jobs has a ROC AUC, so nothing says which one is the best: they failed, no test "
            "image is defective, or the scores are another tool's. Name a job by how its id begins."
        )
    kept = [result for result in order[0] if CARD in result.record.files]
    return min(kept or order[0], key=lambda result: (result.record.job.seed, result.record.job.fold, result.id))


def _run(text: str, store: Store) -> tuple[str, str, Sequence[Result]]:
    """Name, category and results of what was typed; a run's name may hold a slash itself."""
    if results := Selection(store, text).read():
        return text, "", results
    name = text.rpartition("/")[0]
    while name:
        if results := Selection(store, name).read():
            return name, text.removeprefix(f"{name}/"), results
        name = name.rpartition("/")[0]
    raise unknown("run", text[:80], selection.names(store))


def _mean(results: Sequence[Result]) -> float:
    return fmean(float(result.metrics[RANKING] or 0) for result in results)


def method_key(record: Record) -> str:
    """What results of one method, with the same parameters, have in common."""
    return json.dumps(record.job.method.identity)


class Place(NamedTuple):
    """What results must share to be compared; `identity` tells choices of the same names apart."""

    dataset: str
    category: str
    protocol: str
    identity: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.category} ({self.protocol})"


def place(record: Record) -> Place:
    """Where a result was measured: only results of one place are ranked together."""
    job = record.job
    options = "".join(f" {name}={job.protocol.params[name]}" for name in job.protocol.chosen)
    identity = json.dumps([job.dataset.identity, job.protocol.identity], sort_keys=True)
    return Place(job.dataset.name, job.category, job.protocol.name + options, identity)
