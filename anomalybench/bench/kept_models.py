"""Which models of a run stay: those of the method that ranks first on each category."""

import json
from collections import defaultdict
from collections.abc import Sequence

from anomalybench.bench import best
from anomalybench.bench.store import Store, weights
from anomalybench.core.model_card import CARD
from anomalybench.core.record import Record, Result

_JUST_USED_S = 60
"""An array that was used in the last minute may belong to a model that another run is writing."""


def keep_best(results: Sequence[Result], store: Store) -> int:
    """Remove the models of all methods but the one with the greatest mean ROC AUC over folds and seeds.

    Where no ROC AUC is known, as without defective images, all models stay. Arrays that no model needs go, too.

    Args:
        results: Of a run.
        store: Where they lie.

    Returns:
        How many models were removed.

    Raises:
        StoreError: A folder cannot be written.
    """
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        job = result.record.job
        groups[json.dumps([job.dataset.identity, job.category, job.protocol.identity])].append(result)
    removed = 0
    for group in groups.values():
        order = best.ranked(group)
        kept = {_method(result.record) for result in order[0]} if order else {_method(r.record) for r in group}
        for record in {r.record.id: r.record for r in group if _method(r.record) not in kept}.values():
            if CARD in record.files:
                store.without_model(record)
                removed += 1
    if removed:
        weights.prune(store.results, _JUST_USED_S)
    return removed


def _method(record: Record) -> str:
    return json.dumps(record.job.method.identity)
