"""Reading what a result's folder holds, which may come from anywhere: checked against its record before it is used."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from anomalybench.bench.store import arrays, index
from anomalybench.core.errors import StoreError
from anomalybench.core.record import SCHEMA, Record
from anomalybench.evaluate.catalogue import RANKING
from anomalybench.evaluate.map_codes import CODES, MapCodes
from anomalybench.evaluate.uncertainty import RESAMPLES as N_RESAMPLES

RECORD, SCORES, MAPS, RESAMPLES = "record.json", "scores.parquet", "maps.npz", "resamples.npz"
_COLUMNS = {"path": str, "split": str, "label": int, "defect": str, "score": float}
_OPTIONAL = ("mask", "group")
_DRAWN = 8 * N_RESAMPLES
"""Bytes of a metric's resamples at most."""


@dataclass(frozen=True)
class Unreadable:
    """A folder of a job that is no result.

    Attributes:
        folder: The folder.
        schema: Version of its layout, as far as it says.
        reason: What is wrong with it.
    """

    folder: Path
    schema: int
    reason: str


def record(folder: Path) -> Record | None:
    """The record of a folder if it and the files that it names are whole, else None."""
    try:
        found = checked(index.beginning(folder / RECORD), folder)
    except OSError:
        return None
    return found if isinstance(found, Record) else None


def version(folder: Path) -> int:
    """Version of the layout of a folder that this version cannot read; 0 of what is no result, or one of today's."""
    try:
        found = checked(index.beginning(folder / RECORD), folder)
    except OSError:
        return 0
    return found.schema if isinstance(found, Unreadable) else 0


def checked(text: bytes, folder: Path) -> Record | Unreadable:
    """The record of this text if it is one, and the files that it names lie in the folder and have their sizes."""
    try:
        found = Record.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        return Unreadable(folder, _schema(text), _reason(error))
    for name, size in found.files.items():
        try:
            if (folder / name).stat().st_size != size:
                return Unreadable(folder, SCHEMA, f"{name} has not the size that its record says")
        except (OSError, ValueError):
            return Unreadable(folder, SCHEMA, f"{name} is missing")
    return found


def scores(folder: Path, record: Record) -> pd.DataFrame:
    """Raw scores, one row per calibration and test image.

    Raises:
        StoreError: They are damaged or do not fit the record.
    """
    file = folder / SCORES
    try:
        with pq.ParquetFile(file) as opened:
            if opened.metadata.num_rows != record.n_scores:
                raise ValueError(f"{opened.metadata.num_rows} rows, the record says {record.n_scores}")
            table = opened.read([*_COLUMNS, *_OPTIONAL]).to_pandas()
        return _checked_scores(table)
    except (OSError, ValueError, TypeError, KeyError, MemoryError, pa.ArrowException) as error:
        raise StoreError(f"{file}: cannot be read as scores ({error}).") from None


def maps(folder: Path, record: Record) -> MapCodes | None:
    """Anomaly maps in the order of the scores, or None.

    Raises:
        StoreError: They are damaged or do not fit the record.
    """
    if record.map_size is None:
        return None
    shape = (record.n_scores, *record.map_size)
    found = arrays.read(folder / MAPS, ("codes", "values"), max(2 * math.prod(shape), 4 * CODES))
    if reason := _no_maps(found.get("codes"), found.get("values"), shape):
        raise StoreError(f"{folder / MAPS}: {reason}.")
    return MapCodes(found["codes"], found["values"])


def resamples(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Metrics in every resample of the test images; empty for a record without them.

    Raises:
        StoreError: They are damaged; `anomalybench measure` computes them again.
    """
    file = folder / RESAMPLES
    found = arrays.read(file, most=_DRAWN) if file.exists() else {}
    if odd := [name for name, values in found.items() if not _is_drawn(values)]:
        raise StoreError(f"{file}: {odd[0]} is no resample of {N_RESAMPLES} numbers. Run `anomalybench measure`.")
    return found


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:200]
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]


def _schema(text: bytes) -> int:
    """Version of the layout of a record that is not of today's; 0 for what is no record."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return 0
    if not isinstance(content, dict) or not isinstance(content.get("job"), dict):
        return 0
    version = content.get("schema_version", 1)
    return version if isinstance(version, int) else 0


def _checked_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that we know, with their types; ValueError for what cannot be scores."""
    found = table[list(_COLUMNS)].astype(_COLUMNS)
    if table[list(_COLUMNS)].isna().to_numpy().any() or not np.isfinite(found["score"]).all():
        raise ValueError("a cell is empty, or a score is no finite number")
    if not table["label"].isin([0, 1]).all() or not found["split"].isin(["calibration", "test"]).all():
        raise ValueError("a label is not 0 or 1, or a split not calibration or test")
    for name in _OPTIONAL:
        cells = table[name] if name in table else pd.Series(None, table.index, object)
        found[name] = cells.map(str).astype(object).where(cells.notna(), None)
    return found.reset_index(drop=True)


def drawn(folder: Path, names: tuple[str, ...]) -> NDArray[np.float32] | None:
    """The first of these metrics that there is; None where there is none, or in a file that cannot be read."""
    try:
        found = arrays.read(folder / RESAMPLES, names, _DRAWN)
    except StoreError:
        return None
    values = next((found[name] for name in names if name in found), None)
    return values.astype(np.float32) if values is not None and _is_drawn(values) else None


def _is_drawn(values: NDArray[Any]) -> bool:
    return values.shape == (N_RESAMPLES,) and values.dtype.kind == "f"


def _no_maps(codes: NDArray[Any] | None, values: NDArray[Any] | None, shape: tuple[int, ...]) -> str | None:
    """Why these are no maps of this shape; None if they are."""
    if codes is None or values is None:
        return "holds no maps"
    if codes.shape != shape:
        return f"maps of {codes.shape}, the record says {shape}"
    if codes.dtype != np.uint16 or values.dtype != np.float32 or values.ndim != 1:
        return f"codes of {codes.dtype} and values of {values.dtype}"
    if codes.size and codes.max() >= values.size:
        return "a code has no value"
    return None if np.isfinite(values).all() and (np.diff(values) > 0).all() else "its values are not ascending"


def ranking(folder: Path) -> bytes:
    """What the index keeps of the resamples."""
    values = drawn(folder, (RANKING,))
    return b"" if values is None else values.tobytes()
