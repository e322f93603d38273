"""What a run leaves for people: tables, the list of results they are made of, and the page. Tables are built once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalybench.bench.store import Store
from anomalybench.bench.store.selection import Selection
from anomalybench.core.record import Result
from anomalybench.report import leaderboard
from anomalybench.report.leaderboard import Tables


@dataclass(frozen=True)
class Outputs:
    """What was written.

    Attributes:
        tables: The tables.
        files: Their CSV files.
    """

    tables: Tables
    files: list[Path]


def write_tables(name: str, results: Sequence[Result], store: Store, *, keep: bool = True) -> Outputs:
    """Build the tables of results and write them under the name of their run.

    Args:
        name: The name.
        results: The results.
        store: Where they lie, and where the tables go.
        keep: Keep which results they are, so that they can be asked for by the name.

    Raises:
        StoreError: The folder cannot be written.
    """
    tables = leaderboard.build(results, store.resample(results))
    files = leaderboard.write(tables, store.results, name)
    if keep:
        Selection(store, name).write(results)
    return Outputs(tables, files)
