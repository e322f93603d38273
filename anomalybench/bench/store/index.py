"""The index: records and their resamples of ROC AUC in one Parquet file: a leaderboard need not open thousands.

With 20,000 records, opening each one's resamples took 3 s with all files in memory and 14 s from the disk.

It is never trusted over the records. A row counts only while its `record.json` has the same modification time, size and
inode; what it holds is that file's bytes, checked like the file itself. An index that is damaged, of another version or
cannot be written does no harm: the records are read instead. Two processes may write it at once, since each row proves
itself and the file is written aside and renamed.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from anomalybench.core.files import sweep, write_aside

FILE = "index.parquet"
_ROWS = 1000
_LONGEST = 20_000_000
"""Bytes of a record; what is longer is cut, and so no record."""
_SCHEMA = pa.schema(
    [("folder", pa.string()), ("stamp", pa.string()), ("record", pa.large_binary()), ("drawn", pa.large_binary())],
    {"anomalybench index": "2"},
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


def rows(runs: Path, name: str, drawn: Callable[[Path], bytes]) -> list[Row]:
    """The files of this name four levels below `runs`, sorted by folder, from the index where that is fresh.

    Args:
        runs: Folder of the runs; the index lies in it and is brought up to date.
        name: Name of the records' files.
        drawn: Reads the resamples that lie in a folder, float32 as bytes.
    """
    columns = (column.to_pylist() for column in _read(runs / FILE, list(Row._fields)))
    known = {row.folder: row for row in map(Row, *columns)}
    found = []
    for folder in _folders(runs, 4):
        file = runs / folder / name
        with suppress(OSError):
            stat = file.stat()
            stamp = f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"
            row = known.get(folder)
            found.append(row if row and row.stamp == stamp else Row(folder, stamp, beginning(file)))
    if len(found) != len(known) or any(known.get(row.folder) is not row for row in found):
        _write(runs, found, drawn)
    return found


def beginning(file: Path) -> bytes:
    """A record's text, no more of it than a record can have."""
    with file.open("rb") as stream:
        return stream.read(_LONGEST)


def resamples(runs: Path, stamps: Mapping[str, str]) -> dict[str, pa.Buffer]:
    """Resamples of ROC AUC by folder, float32; empty for a record without.

    Args:
        runs: Folder of the runs.
        stamps: Stamp by folder, of the records that are asked for; the index may know of others, or of older ones.
    """
    folders, known, drawn = _read(runs / FILE, ["folder", "stamp", "drawn"])
    found = zip(folders.to_pylist(), known.to_pylist(), drawn, strict=True)
    return {folder: value.as_buffer() for folder, stamp, value in found if stamps.get(folder) == stamp}


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


def _read(file: Path, columns: list[str]) -> list[pa.ChunkedArray]:
    """Some columns of the index; empty ones of an index that cannot be used."""
    # A changed byte must not become another number, hence the checksums.
    options = {"page_checksum_verification": True, "pre_buffer": False, "buffer_size": 2**16}
    with suppress(OSError, ValueError, pa.ArrowException), pq.ParquetFile(file, **options) as opened:
        if opened.schema_arrow.equals(_SCHEMA, check_metadata=True):
            # By batches: one array of all would take the memory twice.
            return list(pa.Table.from_batches(opened.iter_batches(_ROWS, columns=columns)).columns)
    return [pa.chunked_array([], kind) for kind in _SCHEMA.types[: len(columns)]]


def _write(runs: Path, found: list[Row], drawn: Callable[[Path], bytes]) -> None:
    with suppress(OSError, ValueError, pa.ArrowException):
        known = resamples(runs, {row.folder: row.stamp for row in found})
        values = [bytes(known[row.folder]) if row.folder in known else drawn(runs / row.folder) for row in found]
        columns = [list(column) for column in zip(*found, strict=True)] or [[]] * 3
        table = pa.table([*columns, values], schema=_SCHEMA)
        sweep(runs, ".*.parquet")
        with write_aside(runs / FILE, durable=False) as aside:
            pq.write_table(
                table, aside, write_page_checksum=True, use_dictionary=False, compression="none", row_group_size=_ROWS
            )
