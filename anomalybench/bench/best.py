"""The best method of a run on a category, and the job that stands for it.

Methods are ranked as on the leaderboard: by ROC AUC, the mean over folds and seeds. Of the best one's jobs the first
seed and fold stands for it: to pick the seed that tested best would be to pick by luck.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from anomalybench.bench.store import Store, selection
from anomalybench.bench.store.selection import Selection
from anomalybench.core.errors import UsageError, shortened, unknown
from anomalybench.core.model_card import CARD
from anomalybench.core.record import Record, Result
from anomalybench.evaluate.catalogue import RANKING


def ranked(results: Iterable[Result]) -> list[tuple[Result, ...]]:
    """Results by method, the best mean ROC AUC first; those without one are left out, equal ones sorted by name.

    Args:
        results: Of one category, split by one protocol.
    """
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.metrics.get(RANKING) is not None:
            groups[_method(result.record)].append(result)
    order = sorted(groups, key=lambda name: (-_mean(groups[name]), name))
    return [tuple(groups[name]) for name in order]


def of_run(text: str, store: Store) -> Result:
    """The first job of the best method of a run.

    Args:
        text: Name of a run, followed by `/CATEGORY` where it has several.
        store: Where its results lie.

    Raises:
        UsageError: There is no such run or category, several are meant, or none has a ROC AUC.
    """
    name, category, results = _run(text, store)
    places = sorted({_place(result.record) for result in results})
    if category:
        places = [place for place in places if category in (place[1], f"{place[0]}/{place[1]}")]
        if not places:
            raise unknown(f"category of run {shortened(name)}", category, {r.record.job.category for r in results})
    if len(places) > 1:
        listed = ", ".join(f"{dataset}/{one} ({protocol})" for dataset, one, protocol in places)
        raise UsageError(
            f"best:{text}: this run has several categories or protocols, and a model is for one: {listed}. Write "
            f"best:{name}/CATEGORY, or name a job by how its id begins."
        )
    order = ranked(result for result in results if _place(result.record) == places[0])
    if not order:
        raise UsageError(
            f"best:{text}: none of its jobs has a ROC AUC, so nothing says which one is the best: they failed, or no "
            "test image is defective. Name a job by how its id begins."
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


def _method(record: Record) -> str:
    return json.dumps(record.job.method.identity)


def _place(record: Record) -> tuple[str, str, str]:
    job = record.job
    return job.dataset.name, job.category, job.protocol.name
