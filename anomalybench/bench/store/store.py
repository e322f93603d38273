"""One folder per result: the scores, maps and model of a job on certain images, and what was measured on them.

A folder is written aside and renamed, so that a result is either there or not. `record.json` names every other file
with its size; a folder whose files do not fit its record counts as not there. The same job on other images is another
folder beside it: nothing that was measured is lost when images are added or another folder has the same name.
"""

import contextlib
import functools
import gc
import hashlib
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
from numpy.typing import NDArray

from anomalybench.bench.store import arrays, index, reading
from anomalybench.bench.store.reading import MAPS, RECORD, SCORES, Unreadable
from anomalybench.bench.store.writing import finish, link, replace
from anomalybench.core.errors import StoreError
from anomalybench.core.files import sweep
from anomalybench.core.job import Job
from anomalybench.core.model_card import CARD
from anomalybench.core.record import Record, Result, results_of
from anomalybench.deploy import bundle, cards
from anomalybench.deploy.bundle import Bundle
from anomalybench.evaluate.catalogue import RANKING
from anomalybench.evaluate.map_codes import MapCodes
from anomalybench.evaluate.uncertainty import RESAMPLES


@dataclass(frozen=True)
class Outcome:
    """What a job produced.

    Attributes:
        record: Its record.
        scores: One row per calibration and test image: path, split, label, defect, mask, group, score; None if it
            failed.
        maps: Anomaly maps in the order of `scores`; None for a method without maps.
        resamples: Metrics in every resample of the test images: see `evaluate.uncertainty`.
        model: The fitted method; None where it is not to be kept.
    """

    record: Record
    scores: pd.DataFrame | None = None
    maps: MapCodes | None = None
    resamples: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    model: Bundle | None = None


class Store:
    """Results under one folder: `runs/DATASET/CATEGORY/METHOD/JOB-IMAGES/`."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.runs, self.shared = results / "runs", results / bundle.SHARED
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
        return reading.record(self.folder(job, fingerprint))

    def newest(self, job: Job) -> Record | None:
        """The job's latest record, whatever the images were."""
        files = self.folder(job, "").parent.glob(f"{job.id}*/{RECORD}")
        records = [record for file in files if (record := reading.record(file.parent)) is not None]
        return max(records, key=lambda record: record.environment.get("date", ""), default=None)

    def records(self) -> list[Record]:
        """Every whole record, sorted by folder; read through `index`."""
        return [record for _, record in self._read_all() if isinstance(record, Record)]

    def unreadable(self) -> list[Unreadable]:
        """Folders of jobs that are no results: of another version, damaged, or not whole."""
        return [record for _, record in self._read_all() if isinstance(record, Unreadable)]

    def _folder(self, record: Record) -> Path:
        return self.folder(record.job, record.fingerprint)

    def _read_all(self) -> list[tuple[str, Record | Unreadable]]:
        collecting = gc.isenabled()
        gc.disable()  # looking for cycles among thousands of new records takes longer than reading them
        try:
            rows = index.rows(self.runs, RECORD, reading.ranking)
            self._stamps = {row.folder: row.stamp for row in rows}
            return [(row.folder, reading.checked(row.record, self.runs / row.folder)) for row in rows]
        finally:
            if collecting:
                gc.enable()

    def on_same_images(self, results: Iterable[Result], methods: str = "*") -> list[Result]:
        """Results of the same images, split in the same way and measured with the same threshold rule.

        Args:
            results: What they are to be compared with.
            methods: Pattern of the methods' names.
        """
        wanted = {(r.record.job.images, r.record.fingerprint, _rule(r)) for r in results}
        folders = {self.folder(r.record.job, "").parents[1] for r in results}
        pattern = safe_name(methods).replace("%2A", "*")
        files = sorted(file for folder in folders for file in folder.glob(f"{pattern}/*/{RECORD}"))
        records = [reading.record(file.parent) for file in files if not file.parent.name.startswith(".")]
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
            if metric == RANKING and len(ranking.get(record.id, b"")) == 4 * RESAMPLES:
                return np.frombuffer(ranking[record.id], np.float32)
            _, at, rule = result_id.partition("@")
            names = (f"{metric}@{rule}", metric) if at else (metric,)
            return reading.drawn(self._folder(record), names)

        return drawn

    def scores(self, record: Record) -> pd.DataFrame:
        """The job's raw scores, one row per calibration and test image; StoreError if they are damaged."""
        return reading.scores(self._folder(record), record)

    def maps(self, record: Record) -> MapCodes | None:
        """The job's anomaly maps in the order of its scores, or None; StoreError if they are damaged."""
        return reading.maps(self._folder(record), record)

    def resamples(self, record: Record) -> dict[str, NDArray[np.float32]]:
        """The job's metrics in every resample of its test images; StoreError if they are damaged."""
        return reading.resamples(self._folder(record))

    def model(self, record: Record) -> Bundle | None:
        """The job's fitted method; None where it was not kept.

        Raises:
            StoreError: It is damaged.
        """
        return bundle.read(self._folder(record)) if CARD in record.files else None

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
            if outcome.model is not None:
                bundle.write(aside, outcome.model, self.shared)
            return finish(aside, record, outcome.resamples)

    def measured(self, record: Record, resamples: Mapping[str, NDArray[np.floating[Any]]]) -> Record:
        """Put a record with other measurements in place of the earlier one; scores, maps and model stay.

        Raises:
            StoreError: The folder cannot be written.
        """
        folder = self._folder(record)
        with self._replaced(record) as aside:
            for name in (SCORES, MAPS, bundle.WEIGHTS):
                if name in record.files:
                    link(folder / name, aside / name)
            if CARD in record.files:
                card = bundle.read_card(folder)
                bundle.write_card(aside, cards.with_measurement(card, record.measurements[0], self.scores(record)))
            return finish(aside, record, resamples)

    def drop_model(self, record: Record) -> bool:
        """Remove the job's model and keep its results, also what was measured since `record` was read.

        Returns:
            Whether there was a model.

        Raises:
            StoreError: The folder cannot be written.
        """
        now = self.get(record.job, record.fingerprint)
        if now is None or CARD not in now.files:
            return False
        folder = self._folder(now)
        with self._replaced(now) as aside:
            for name in now.files.keys() - {CARD, bundle.WEIGHTS}:
                link(folder / name, aside / name)
            finish(aside, now, {})
        return True

    @contextlib.contextmanager
    def _replaced(self, record: Record) -> Iterator[Path]:
        """A folder to write into, which then takes the place of the record's."""
        target = self._folder(record)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            try:
                yield aside
                replace(aside, target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written ({error.strerror or error}).") from None

    def of_version_0_1_0(self, jobs: Iterable[Job]) -> int:
        """How many results of that version lie beside these jobs; `takeover` reads them."""
        folders = {self.folder(job, "").parent for job in jobs}
        old = [
            file.parent for folder in folders for file in folder.glob(f"[!.]*/{RECORD}") if "-" not in file.parent.name
        ]
        return sum(reading.version(folder) == 1 for folder in old)

    def sweep(self, jobs: Iterable[Job]) -> None:
        """Remove what killed runs have left half-written beside these jobs."""
        for folder in {self.folder(job, "").parent for job in jobs}:
            sweep(folder)


@functools.lru_cache(10_000)
def safe_name(name: str) -> str:
    """A file name for any text: letters, digits and a few signs stay, the rest is percent-encoded and kept short."""
    quoted = quote(name.encode("utf-8", "surrogateescape"), safe=" ()[]=,+@").replace("~", "%7E")
    quoted = re.sub(r"^\.", "%2E", quoted) or "%"
    if len(quoted) <= 100:
        return quoted
    # "%-" is no encoded character, so no short name is spelt like a shortened one.
    return f"{quoted[:80]}%-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def _rule(result: Result) -> str | None:
    return None if result.measurement is None else result.measurement.name
