"""The store: one folder per job, written aside and renamed, so that a job is either done or not there.

`record.json` names every other file with its size; a folder whose files do not fit its record counts as not there.
"""

import contextlib
import functools
import gc
import hashlib
import os
import re
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench import index
from anomalybench.core.errors import StoreError
from anomalybench.core.job import Job, Record
from anomalybench.core.leftovers import sweep

RECORD, SCORES, MAPS, RESAMPLES = "record.json", "scores.parquet", "maps.npz", "resamples.npz"
RANKING = "auroc"
"""The metric that tables are ranked by."""


@dataclass(frozen=True)
class Outcome:
    """What a job produced.

    Attributes:
        record: Its record.
        scores: One row per calibration and test image: path, split, label, defect, score; None if it failed.
        maps: Anomaly maps in the order of `scores`, n x h x w; None for a method without maps.
        resamples: Metrics in every resample of the test images: see `evaluate.uncertainty`.
    """

    record: Record
    scores: pd.DataFrame | None = None
    maps: NDArray[np.float16] | None = None
    resamples: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


class Store:
    """Results under one folder: `runs/DATASET/CATEGORY/METHOD/JOB ID/`."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.runs = results / "runs"
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

    def folder(self, job: Job) -> Path:
        """Where the job's results lie, or would lie."""
        parts = (job.dataset.name, job.category, job.method.name, job.id)
        return self.runs.joinpath(*map(safe_name, parts))

    def get(self, job: Job) -> Record | None:
        """The job's record if its results are whole, else None."""
        return _read(self.folder(job))

    def records(self) -> list[Record]:
        """Every whole record, sorted by folder; read through `bench.index`."""
        collecting = gc.isenabled()
        gc.disable()  # looking for cycles among thousands of new records takes longer than reading them
        try:
            rows = index.rows(self.runs, RECORD, _ranking)
            self._stamps = {row.folder: row.stamp for row in rows}
            found = [_whole(row.record, self.runs / row.folder) for row in rows]
        finally:
            if collecting:
                gc.enable()
        return [record for record in found if record is not None]

    def beside(self, jobs: Iterable[Job], methods: str = "*") -> list[Record]:
        """Whole records of the same images, split the same way and with the same threshold rule, as these jobs.

        Args:
            jobs: The jobs.
            methods: Pattern of the methods' names.
        """
        grounds = {_ground(job) for job in jobs}
        folders = {self.folder(job).parents[1] for job in jobs}
        pattern = safe_name(methods).replace("%2A", "*")
        files = sorted(file for folder in folders for file in folder.glob(f"{pattern}/*/{RECORD}"))
        records = [_read(file.parent) for file in files if not file.parent.name.startswith(".")]
        return [record for record in records if record is not None and _ground(record.job) in grounds]

    def resample(self, jobs: Iterable[Job]) -> Callable[[str, str], NDArray[np.float32] | None]:
        """A function from job id and metric to that metric in every resample, for some jobs; None where not known."""
        known = {job.id: job for job in jobs}
        indexed = index.resamples(self.runs, self._stamps) if self._stamps else {}
        ranking = {folder.rpartition("/")[2]: drawn for folder, drawn in indexed.items()}

        def drawn(job: str, metric: str) -> NDArray[np.float32] | None:
            if job not in known:
                return None
            if metric == RANKING and len(ranking.get(job, b"")):
                return np.frombuffer(ranking[job], np.float32)
            return _resamples(self.folder(known[job]), metric)

        return drawn

    def scores(self, job: Job) -> pd.DataFrame:
        """The job's raw scores, one row per calibration and test image."""
        return pd.read_parquet(self.folder(job) / SCORES)

    def maps(self, job: Job) -> NDArray[np.float16] | None:
        """The job's anomaly maps in the order of its scores, or None."""
        file = self.folder(job) / MAPS
        if not file.exists():
            return None
        with np.load(file, allow_pickle=False) as saved:
            maps: NDArray[np.float16] = saved["maps"]
        return maps

    def resamples(self, job: Job) -> dict[str, NDArray[np.float32]]:
        """The job's metrics in every resample of its test images; empty for a record without them."""
        file = self.folder(job) / RESAMPLES
        if not file.exists():
            return {}
        with np.load(file, allow_pickle=False) as saved:
            return dict(saved)

    def put(self, outcome: Outcome) -> Record:
        """Write an outcome, replacing the job's earlier one; returns the record with the sizes of its files.

        Raises:
            StoreError: The folder cannot be written.
        """
        target = self.folder(outcome.record.job)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            try:
                record = _write(aside, outcome)
                _replace(aside, target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written ({error.strerror or error}).") from None
        return record

    def sweep(self, jobs: Iterable[Job]) -> None:
        """Remove what killed runs have left half-written beside these jobs."""
        for folder in {self.folder(job).parent for job in jobs}:
            sweep(folder)


@functools.lru_cache(10_000)
def safe_name(name: str) -> str:
    """A file name for any text: letters, digits and a few signs stay, the rest is percent-encoded and kept short."""
    quoted = quote(name, safe=" ()[]=,+@").replace("~", "%7E")
    quoted = re.sub(r"^\.", "%2E", quoted) or "%"
    if len(quoted) <= 100:
        return quoted
    # "%-" is no encoded character, so no short name is spelt like a shortened one.
    return f"{quoted[:80]}%-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _write(folder: Path, outcome: Outcome) -> Record:
    if outcome.scores is not None:
        outcome.scores.to_parquet(folder / SCORES, index=False)
    if outcome.maps is not None:
        np.savez_compressed(folder / MAPS, maps=outcome.maps)
    if outcome.resamples:
        np.savez(
            folder / RESAMPLES, allow_pickle=False, **{k: v.astype(np.float32) for k, v in outcome.resamples.items()}
        )
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    record = outcome.record.model_copy(update={"files": sizes})
    (folder / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    for file in folder.iterdir():
        _sync(file)
    _sync(folder)
    folder.chmod(0o755)
    return record


def _sync(path: Path) -> None:
    """Bring a file or the names in a folder to the disk, so that a rename after it cannot get there first."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDWR if os.name != "posix" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ground(job: Job) -> str:
    return job.model_dump_json(include={"dataset", "category", "protocol", "fold", "seed", "threshold"})


def _replace(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`; what was there goes aside first, since a folder cannot be renamed onto a full one."""
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
                _sync(target.parent)
                return
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(f"another process keeps writing {target}")


def _read(folder: Path) -> Record | None:
    try:
        return _whole((folder / RECORD).read_bytes(), folder)
    except OSError:
        return None


def _resamples(folder: Path, metric: str) -> NDArray[np.float32] | None:
    """None where there are none, or in a file that cannot be read."""
    try:
        with np.load(folder / RESAMPLES, allow_pickle=False) as saved:
            values: NDArray[np.float32] | None = saved.get(metric)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None
    return values


def _ranking(folder: Path) -> bytes:
    """What the index keeps of the resamples."""
    values = _resamples(folder, RANKING)
    return b"" if values is None else values.tobytes()


def _whole(text: bytes, folder: Path) -> Record | None:
    """The record of this text if the files that it names lie in the folder and have their sizes, else None."""
    try:
        record = Record.model_validate_json(text)
        whole = all((folder / name).stat().st_size == size for name, size in record.files.items())
    except (OSError, ValueError):
        return None
    return record if whole else None
