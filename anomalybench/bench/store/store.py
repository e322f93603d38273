"""One folder per result: the scores, maps and fitted state of a job on certain images, and what was measured on them.

A folder is written aside and renamed, so that a result is either there or not. `record.json` names every other file
with its size; a folder whose files do not fit its record counts as not there. The same job on other images is another
folder beside it: nothing that was measured is lost when images are added or another folder has the same name.
"""

import contextlib
import functools
import gc
import hashlib
import json
import math
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from anomalybench.bench.store import arrays, index, state
from anomalybench.core.errors import StoreError
from anomalybench.core.files import sweep, sync
from anomalybench.core.job import Job
from anomalybench.core.record import SCHEMA, Record, Result
from anomalybench.evaluate.catalogue import RANKING
from anomalybench.evaluate.map_codes import CODES, MapCodes
from anomalybench.evaluate.uncertainty import RESAMPLES as N_RESAMPLES

RECORD, SCORES, MAPS, RESAMPLES, STATE = "record.json", "scores.parquet", "maps.npz", "resamples.npz", "state.npz"
_COLUMNS = {"path": str, "split": str, "label": int, "defect": str, "score": float}
_OPTIONAL = ("mask", "group")
_DRAWN = 8 * N_RESAMPLES
"""Bytes of a metric's resamples at most."""


@dataclass(frozen=True)
class Outcome:
    """What a job produced.

    Attributes:
        record: Its record.
        scores: One row per calibration and test image: path, split, label, defect, mask, group, score; None if it
            failed.
        maps: Anomaly maps in the order of `scores`; None for a method without maps.
        resamples: Metrics in every resample of the test images: see `evaluate.uncertainty`.
        state: The fitted state of the method.
    """

    record: Record
    scores: pd.DataFrame | None = None
    maps: MapCodes | None = None
    resamples: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)


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


class Store:
    """Results under one folder: `runs/DATASET/CATEGORY/METHOD/JOB-IMAGES/`."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.runs, self.shared = results / "runs", results / "states"
        self._stamps: dict[str, str] = {}

    def check_writable(self) -> None:
        """Fail now rather than after the first fit.

        Raises:
            StoreError: The results folder cannot be made or written to.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.runs):
                pass
        except OSError as error:
            raise StoreError(
                f"the results folder {self.results} cannot be written ({error.strerror}). Name another: --results DIR."
            ) from None

    def check_there(self) -> None:
        """Fail before a job whose outcome could not be kept, rather than make a new folder where a disk is gone.

        Raises:
            StoreError: The folder that `check_writable` has made is gone, or another machine's.
        """
        if not self.runs.is_dir():
            raise StoreError(
                f"the results folder {self.results} is not there on {socket.gethostname()}. It must stay where it is, "
                "and be shared by all machines of a run."
            )

    def folder(self, job: Job, fingerprint: str) -> Path:
        """Where the job's results on these images lie, or would lie."""
        name = f"{job.id}-{fingerprint[:8]}" if fingerprint else job.id
        parts = (job.dataset.name, job.category, job.method.name, name)
        return self.runs.joinpath(*map(safe_name, parts))

    def get(self, job: Job, fingerprint: str) -> Record | None:
        """The job's record on these images if its results are whole, else None."""
        return _read(self.folder(job, fingerprint))

    def newest(self, job: Job) -> Record | None:
        """The job's latest record, whatever the images were."""
        files = self.folder(job, "").parent.glob(f"{job.id}*/{RECORD}")
        records = [record for file in files if (record := _read(file.parent)) is not None]
        return max(records, key=lambda record: record.environment.get("date", ""), default=None)

    def records(self) -> list[Record]:
        """Every whole record, sorted by folder; read through `index`."""
        return [record for _, record in self._read_all() if isinstance(record, Record)]

    def unreadable(self) -> list[Unreadable]:
        """Folders of jobs that are no results: of another version, damaged, or not whole."""
        return [record for _, record in self._read_all() if isinstance(record, Unreadable)]

    def _read_all(self) -> list[tuple[str, Record | Unreadable]]:
        collecting = gc.isenabled()
        gc.disable()  # looking for cycles among thousands of new records takes longer than reading them
        try:
            rows = index.rows(self.runs, RECORD, _ranking)
            self._stamps = {row.folder: row.stamp for row in rows}
            return [(row.folder, _checked(row.record, self.runs / row.folder)) for row in rows]
        finally:
            if collecting:
                gc.enable()

    def beside(self, results: Iterable[Result], methods: str = "*") -> list[Result]:
        """Results of the same images, split in the same way and measured with the same threshold rule.

        Args:
            results: What they are to be compared with.
            methods: Pattern of the methods' names.
        """
        wanted = {(r.record.job.images, r.record.fingerprint, _rule(r)) for r in results}
        folders = {self.folder(r.record.job, "").parents[1] for r in results}
        pattern = safe_name(methods).replace("%2A", "*")
        files = sorted(file for folder in folders for file in folder.glob(f"{pattern}/*/{RECORD}"))
        records = [_read(file.parent) for file in files if not file.parent.name.startswith(".")]
        found = [result for record in records if record is not None for result in results_of(record)]
        return [r for r in found if (r.record.job.images, r.record.fingerprint, _rule(r)) in wanted]

    def resample(self, results: Iterable[Result]) -> Callable[[str, str], NDArray[np.float32] | None]:
        """A function from a result's id and a metric to that metric in every resample; None where not known."""
        known = {result.id: result for result in results}
        indexed = index.resamples(self.runs, self._stamps) if self._stamps else {}
        ranking = {folder.rpartition("/")[2]: drawn for folder, drawn in indexed.items()}

        def drawn(result_id: str, metric: str) -> NDArray[np.float32] | None:
            if result_id not in known:
                return None
            record = known[result_id].record
            if metric == RANKING and len(ranking.get(record.id, b"")) == 4 * N_RESAMPLES:
                return np.frombuffer(ranking[record.id], np.float32)
            _, at, rule = result_id.partition("@")
            names = (f"{metric}@{rule}", metric) if at else (metric,)
            return _resamples(self.folder(record.job, record.fingerprint), names)

        return drawn

    def scores(self, record: Record) -> pd.DataFrame:
        """The job's raw scores, one row per calibration and test image.

        Raises:
            StoreError: They are damaged or do not fit the record.
        """
        file = self.folder(record.job, record.fingerprint) / SCORES
        try:
            with pq.ParquetFile(file) as opened:
                if opened.metadata.num_rows != record.n_scores:
                    raise ValueError(f"{opened.metadata.num_rows} rows, the record says {record.n_scores}")
                table = opened.read([*_COLUMNS, *_OPTIONAL]).to_pandas()
            return _checked_scores(table)
        except (OSError, ValueError, TypeError, KeyError, MemoryError, pa.ArrowException) as error:
            raise StoreError(f"{file}: cannot be read as scores ({error}).") from None

    def maps(self, record: Record) -> MapCodes | None:
        """The job's anomaly maps in the order of its scores, or None.

        Raises:
            StoreError: They are damaged or do not fit the record.
        """
        if record.map_size is None:
            return None
        file = self.folder(record.job, record.fingerprint) / MAPS
        shape = (record.n_scores, *record.map_size)
        found = arrays.read(file, ("codes", "values"), max(2 * math.prod(shape), 4 * CODES))
        if reason := _no_maps(found.get("codes"), found.get("values"), shape):
            raise StoreError(f"{file}: {reason}.")
        return MapCodes(found["codes"], found["values"])

    def resamples(self, record: Record) -> dict[str, NDArray[np.float32]]:
        """The job's metrics in every resample of its test images; empty for a record without them.

        Raises:
            StoreError: They are damaged; `anomalybench measure` makes them anew.
        """
        file = self.folder(record.job, record.fingerprint) / RESAMPLES
        found = arrays.read(file, most=_DRAWN) if file.exists() else {}
        if odd := [name for name, values in found.items() if not _is_drawn(values)]:
            raise StoreError(f"{file}: {odd[0]} is no resample of {N_RESAMPLES} numbers. Run `anomalybench measure`.")
        return found

    def state(self, record: Record) -> dict[str, NDArray[Any]]:
        """The fitted state of the job's method; empty where it was not kept.

        Raises:
            StoreError: It is damaged.
        """
        file = self.folder(record.job, record.fingerprint) / STATE
        return state.read(file, self.shared) if file.exists() else {}

    def put(self, outcome: Outcome) -> Record:
        """Write an outcome, replacing the job's earlier one on the same images; returns the record with its files.

        A job that has failed does not replace a result.

        Raises:
            StoreError: The folder cannot be written.
        """
        record = outcome.record
        earlier = self.get(record.job, record.fingerprint) if record.status == "failed" else None
        if earlier is not None and earlier.status == "ok":
            return record
        with self._replaced(record) as aside:
            if outcome.scores is not None:
                outcome.scores.to_parquet(aside / SCORES, index=False)
            if outcome.maps is not None:
                maps: dict[str, NDArray[Any]] = {"codes": outcome.maps.codes, "values": outcome.maps.values}
                arrays.write(aside / MAPS, maps, compressed=True)
            if outcome.state:
                state.write(aside / STATE, self.shared, outcome.state)
            return _finished(aside, record, outcome.resamples)

    def measured(self, record: Record, resamples: Mapping[str, NDArray[np.floating[Any]]]) -> Record:
        """Put a record with other measurements in place of the earlier one; scores, maps and state stay.

        Raises:
            StoreError: The folder cannot be written.
        """
        folder = self.folder(record.job, record.fingerprint)
        with self._replaced(record) as aside:
            for name in (SCORES, MAPS, STATE):
                if name in record.files:
                    _link(folder / name, aside / name)
            return _finished(aside, record, resamples)

    @contextlib.contextmanager
    def _replaced(self, record: Record) -> Iterator[Path]:
        """A folder to write into, which then takes the place of the record's."""
        target = self.folder(record.job, record.fingerprint)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            try:
                yield aside
                _replace(aside, target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written ({error.strerror or error}).") from None

    def sweep(self, jobs: Iterable[Job]) -> None:
        """Remove what killed runs have left half-written beside these jobs."""
        for folder in {self.folder(job, "").parent for job in jobs}:
            sweep(folder)


def results_of(record: Record) -> list[Result]:
    """A result for each measurement; one without for a job that came to nothing."""
    return [Result(record, measurement) for measurement in record.measurements] or [Result(record)]


@functools.lru_cache(10_000)
def safe_name(name: str) -> str:
    """A file name for any text: letters, digits and a few signs stay, the rest is percent-encoded and kept short."""
    quoted = quote(name.encode("utf-8", "surrogateescape"), safe=" ()[]=,+@").replace("~", "%7E")
    quoted = re.sub(r"^\.", "%2E", quoted) or "%"
    if len(quoted) <= 100:
        return quoted
    # "%-" is no encoded character, so no short name is spelt like a shortened one.
    return f"{quoted[:80]}%-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def _finished(folder: Path, record: Record, resamples: Mapping[str, NDArray[np.floating[Any]]]) -> Record:
    """Write what is written last, and bring all of it to the disk."""
    if resamples:
        arrays.write(folder / RESAMPLES, {name: values.astype(np.float32) for name, values in resamples.items()})
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    record = record.model_copy(update={"files": sizes})
    (folder / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    for file in folder.iterdir():
        sync(file)
    sync(folder)
    folder.chmod(0o755)
    return record


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, target)


def _replace(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`; what was there goes aside first, since a folder cannot be renamed onto a full one."""
    if target.is_symlink():
        raise OSError(f"{target} is a symbolic link. Remove it")
    for _ in range(100):
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with contextlib.suppress(FileNotFoundError):
                target.rename(old)
            try:
                aside.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                sync(target.parent)
                return
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(f"another process keeps writing {target}")


def _rule(result: Result) -> str | None:
    return None if result.measurement is None else result.measurement.name


def _read(folder: Path) -> Record | None:
    try:
        record = _checked(index.beginning(folder / RECORD), folder)
    except OSError:
        return None
    return record if isinstance(record, Record) else None


def _checked(text: bytes, folder: Path) -> Record | Unreadable:
    """The record of this text if it is one, and the files that it names lie in the folder and have their sizes."""
    try:
        record = Record.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        return Unreadable(folder, _schema(text), _reason(error))
    for name, size in record.files.items():
        try:
            if (folder / name).stat().st_size != size:
                return Unreadable(folder, SCHEMA, f"{name} has not the size that its record says")
        except (OSError, ValueError):
            return Unreadable(folder, SCHEMA, f"{name} is missing")
    return record


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


def _resamples(folder: Path, names: tuple[str, ...]) -> NDArray[np.float32] | None:
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


def _ranking(folder: Path) -> bytes:
    """What the index keeps of the resamples."""
    values = _resamples(folder, (RANKING,))
    return b"" if values is None else values.tobytes()
