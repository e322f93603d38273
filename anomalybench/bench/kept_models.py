"""Which models of a run stay: those of the method that ranks first on each category."""

from collections import defaultdict
from collections.abc import Sequence

from anomalybench.bench import best
from anomalybench.bench.store import Store, weights
from anomalybench.core.record import Result

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
    groups: dict[best.Place, list[Result]] = defaultdict(list)
    for result in results:
        groups[best.place(result.record)].append(result)
    removed = 0
    for group in groups.values():
        if not (order := best.ranked(group)):
            continue
        kept = best.method_key(order[0][0].record)
        others = {one.record.id: one.record for one in group if best.method_key(one.record) != kept}
        removed += sum(store.drop_model(record) for record in others.values())
    if removed:
        weights.prune(store.results, _JUST_USED_S)
    return removed
