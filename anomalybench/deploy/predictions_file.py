"""Tables of predictions as CSV, JSON lines or Parquet; a row is on the disk as soon as it is known."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from anomalybench.core.errors import DataError, StoreError, UsageError, printable
from anomalybench.core.files import write_aside
from anomalybench.deploy.stream import COLUMNS, Predicted

KINDS = (".csv", ".jsonl", ".parquet")
_NEEDED = {"path", "score", "verdict"}


class PredictionsFile:
    """A new table, or one that goes on; CSV and JSON lines are flushed row by row, Parquet is written at the end.

    Args:
        file: Where to; its ending says as what.
        go_on: Add to a file that is there instead of refusing it.

    Raises:
        UsageError: The ending is none of `KINDS`, or the file is there already.
        StoreError: It cannot be written.
    """

    def __init__(self, file: Path, *, go_on: bool = False) -> None:
        self.file, self.kind = file, file.suffix.lower()
        if self.kind not in KINDS:
            raise UsageError(f"--out {printable(file)}: its ending says the format; write one of {', '.join(KINDS)}.")
        if go_on and self.kind == ".parquet":
            raise UsageError(f"--out {printable(file)}: a Parquet file cannot grow; take .csv or .jsonl for --watch.")
        if file.exists() and not go_on:
            raise UsageError(f"--out {printable(file)}: is there already. Name another file, or remove it.")
        self.rows: list[dict[str, Any]] = []
        with _explained(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[str] | None = None
            if self.kind != ".parquet":
                new = not file.exists() or not file.stat().st_size
                self._stream = file.open("a", encoding="utf-8", newline="")
                self._writer = RowWriter(self._stream, self.kind, header=new)

    def write(self, one: Predicted) -> None:
        """Add a row."""
        with _explained(self.file):
            if self._stream is None:
                self.rows.append(one.row())
            else:
                self._writer.write(one)
                self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _explained(self.file):
            if self._stream is not None:
                self._stream.close()
            else:
                _write_parquet(self.file, self.rows)


class RowWriter:
    """Writes rows of predictions to a text stream.

    Args:
        stream: Text stream.
        kind: `.csv` or `.jsonl`.
        header: Begin a CSV with the names of its columns.
    """

    def __init__(self, stream: IO[str], kind: str, *, header: bool = True) -> None:
        self._stream, self._csv = stream, csv.writer(stream) if kind == ".csv" else None
        if self._csv is not None and header:
            self._csv.writerow(COLUMNS)

    def write(self, one: Predicted) -> None:
        """Add a row."""
        row = one.row()
        if self._csv is None:
            self._stream.write(json.dumps(row) + "\n")
        else:
            boxes = None if row["boxes"] is None else json.dumps(row["boxes"])
            self._csv.writerow((row | {"boxes": boxes}).values())


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a table of predictions.

    Raises:
        DataError: It is not there, or no such table.
    """
    kind = file.suffix.lower()
    rows: list[dict[str, Any]]
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            rows = pq.read_table(file).to_pylist()
        elif kind == ".jsonl":
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        else:
            with file.open(encoding="utf-8", newline="") as stream:
                table = csv.DictReader(stream)
                if table.fieldnames and not set(table.fieldnames) >= _NEEDED:
                    raise ValueError(f"its columns are {', '.join(table.fieldnames)}")
                rows = [_numbers(row) for row in table]
        if any(not isinstance(row, dict) or not row.keys() >= _NEEDED for row in rows):
            raise ValueError("it lacks the columns path, score and verdict")
    except FileNotFoundError:
        raise DataError(f"{printable(file)}: there is no such file.") from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = printable(error)
        raise DataError(f"{printable(file)}: no table of predictions as `predict` writes it ({reason}).") from None
    return rows


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Cells of a CSV as they were before they were written."""
    texts = ("path", "verdict", "reason")
    found = {name: cell for name, cell in row.items() if name in texts}
    found |= {name: float(cell) if cell else None for name, cell in row.items() if name not in (*texts, "boxes", None)}
    return found | {"boxes": json.loads(row["boxes"]) if row.get("boxes") else None}


def _write_parquet(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, Any] = {"path": pa.string(), "verdict": pa.string(), "reason": pa.string()}
    kinds["boxes"] = pa.list_(pa.list_(pa.int64()))
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])
    with write_aside(file) as aside:
        pq.write_table(pa.Table.from_pylist(list(rows), schema), aside)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"{printable(file)}: cannot be written ({reason}). Name another: --out FILE.") from None
