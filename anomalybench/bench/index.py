"""The index: the text of every record in one Parquet file, so that a leaderboard need not open thousands of files.

It is never trusted over the records. A row counts only while its `record.json` has the same modification time, size and
inode; what it holds is that file's bytes, checked like the file itself. An index that is damaged, of another version or
cannot be written does no harm: the records are read instead. Two processes may write it at once, since each row proves
itself and the file is written aside and renamed.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

FILE = "index.parquet"
_SCHEMA = pa.schema(
    [("folder", pa.string()), ("stamp", pa.string()), ("record", pa.binary())], {"anomalybench index": "1"}
)


class Row(NamedTuple):
    """One record.

    Attributes:
        folder: Its folder, relative to the runs.
        stamp: Modification time in ns, size and inode of its file.
        record: Contents of that file.
    """

    folder: str
    stamp: str
    record: bytes


def rows(runs: Path, name: str) -> list[Row]:
    """The files of this name four levels below `runs`, sorted by folder, from the index where that is fresh.

    Args:
        runs: Folder of the runs; the index lies in it and is brought up to date.
        name: Name of the records' files.
    """
    known = _read(runs / FILE)
    found = []
    for folder in _folders(runs, 4):
        file = runs / folder / name
        with suppress(OSError):
            stat = file.stat()
            stamp = f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"
            row = known.get(folder)
            found.append(row if row and row.stamp == stamp else Row(folder, stamp, file.read_bytes()))
    if len(found) != len(known) or any(known.get(row.folder) is not row for row in found):
        _write(runs / FILE, found)
    return found


def _folders(parent: Path | str, depth: int, above: str = "") -> Iterator[str]:
    """Relative paths of the folders so many levels below, sorted level by level; hidden ones are unfinished."""
    try:
        with os.scandir(parent) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return
    for name in names:
        if depth > 1:
            yield from _folders(f"{parent}/{name}", depth - 1, f"{above}{name}/")
        else:
            yield above + name


def _read(file: Path) -> dict[str, Row]:
    # A changed byte must not become another number, hence the checksums.
    with suppress(OSError, ValueError, pa.ArrowException):
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            table = opened.read()
        if table.schema.equals(_SCHEMA, check_metadata=True):
            columns = (column.to_pylist() for column in table.columns)
            return {row.folder: row for row in map(Row, *columns)}
    return {}


def _write(file: Path, found: list[Row]) -> None:
    with suppress(OSError, ValueError, pa.ArrowException):
        table = pa.table([list(column) for column in zip(*found, strict=True)] or [[]] * 3, schema=_SCHEMA)
        handle, aside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        os.close(handle)
        try:
            pq.write_table(table, aside, write_page_checksum=True)
            Path(aside).chmod(0o644)
            Path(aside).replace(file)
        finally:
            Path(aside).unlink(missing_ok=True)
