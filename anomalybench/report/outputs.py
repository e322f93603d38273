"""What a run leaves for people besides the page: tables, and the list of results that they are made of."""

from collections.abc import Sequence
from pathlib import Path

from anomalybench.bench.store import Store
from anomalybench.bench.store.selection import Selection
from anomalybench.core.record import Result
from anomalybench.report import leaderboard
from anomalybench.report.leaderboard import Tables


def tables_of(results: Sequence[Result], store: Store) -> Tables:
    """The tables of results, with all that their resamples say."""
    return leaderboard.build(results, store.resample(results))


def write(name: str, tables: Tables, results: Sequence[Result], store: Store, *, add: bool = False) -> list[Path]:
    """Write tables under the name of their run, and which results they are of: so they can be asked for by the name.

    Args:
        name: The run's name.
        tables: Its tables.
        results: The results that they are of.
        store: Where all of it lies.
        add: The name collects what is run under it: see `Selection`.

    Returns:
        The CSV files.

    Raises:
        StoreError: The folder cannot be written.
    """
    files = leaderboard.write(tables, store.results, name)
    Selection(store, name).write(results, add=add)
    return files
