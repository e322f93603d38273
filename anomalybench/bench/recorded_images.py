"""The images that records were made from, found again: where the run read them, unless another folder is named.

A run with `--skip-unreadable` leaves out files that cannot be read. Its record does not say so, but its fingerprint is
that of what was left; so where all files do not fit, those that can be read are tried.
"""

import contextlib
from pathlib import Path

from anomalybench.bench.item_table import ItemTable, ItemTables, Source
from anomalybench.core import places
from anomalybench.core.errors import AnomalyBenchError, DataError, StoreError, printable
from anomalybench.core.record import Record


class RecordedImages:
    """Where the images of records are, each data set looked at once.

    Args:
        data: Folder of the data, where a user names one. By default each record's own; where that is gone,
            `ANOMALYBENCH_DATA`.
    """

    def __init__(self, data: Path | None = None) -> None:
        self._data = data
        self._tables: dict[Source, ItemTables] = {}

    def table(self, record: Record) -> ItemTable:
        """The items of a record's category, which are those that it was made from.

        Raises:
            DataError: They are gone or cannot be read.
            StoreError: They are others than those of the run.
        """
        folder = self._folder(record)
        refused: AnomalyBenchError
        try:
            found = self._read(record, Source(folder))
            if found.fingerprint == record.fingerprint:
                return found
            refused = StoreError(
                f"the images in {printable(found.root)} are not those of the job: they have changed since the run. "
                "Run it again, or name theirs: --data DIR."
            )
        except DataError as error:
            refused = error
        with contextlib.suppress(DataError):
            found = self._read(record, Source(folder, skip_unreadable=True))
            if found.fingerprint == record.fingerprint:
                return found
        raise refused

    def _folder(self, record: Record) -> Path:
        recorded = Path(record.root)
        if self._data is not None:
            return self._data
        return recorded if recorded.is_dir() else places.data(None) or recorded

    def _read(self, record: Record, source: Source) -> ItemTable:
        tables = self._tables.setdefault(source, ItemTables(source))
        return tables.get(record.job.dataset, record.job.category)
