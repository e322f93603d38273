"""What tables, figures and comparisons leave out, in words."""

from anomalybench.bench.store import Store
from anomalybench.core.record import SCHEMA, results_of


def left_out(store: Store) -> list[str]:
    """Remarks on folders of jobs that this version cannot read, if there are any."""
    unreadable = store.unreadable()
    older = sum(record.status == "ok" and not results_of(record) for record in store.records())
    old = [one for one in unreadable if one.schema == 1]
    odd = [one for one in unreadable if one.schema != 1]
    said = []
    if old:
        said.append(
            f"{_left_out(len(old), 'result')} of version 0.1.0. Take them over: "
            f"anomalybench measure --results {store.results}"
        )
    if older:
        said.append(
            f"{_left_out(older, 'result')} measured by older formulas. Measure them again: "
            f"anomalybench measure --results {store.results}"
        )
    newer = [one for one in odd if one.schema > SCHEMA]
    if newer:
        said.append(f"{_left_out(len(newer), 'result')} of a newer version. Install that version to see them.")
    broken = [one for one in odd if one.schema <= SCHEMA]
    if broken:
        first = broken[0]
        where = first.folder.relative_to(store.results)
        said.append(f"{_left_out(len(broken), 'damaged job folder')} (first: {where}: {first.reason}).")
    return said


def _left_out(n: int, noun: str) -> str:
    return f"Left out: {n} {noun}{'s' * (n != 1)}"
