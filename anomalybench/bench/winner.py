"""A job that is chosen to be put to work: its record, its images, and where its model goes."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anomalybench.bench import models
from anomalybench.bench.item_table import ItemTable
from anomalybench.bench.recorded_images import RecordedImages
from anomalybench.bench.refit import refit
from anomalybench.core.errors import StoreError, UsageError, printable
from anomalybench.core.record import Measurement, Record, results_of
from anomalybench.deploy import bundle
from anomalybench.deploy.bundle import Bundle
from anomalybench.deploy.promoted import Promoted
from anomalybench.vision import devices
from anomalybench.vision.features import FeatureStore


@dataclass(frozen=True)
class FittedJob:
    """A job with its images.

    Attributes:
        record: Its record.
        measurement: The one whose threshold rule is used.
        table: The items of its category.
        results: The results folder.
    """

    record: Record
    measurement: Measurement
    table: ItemTable
    results: Path

    def refit(self, device: str, progress: Callable[[int, int], None]) -> Bundle:
        """See `refit.refit`."""
        work = self.results / "work"
        with devices.reserved(device) as name:
            return refit(
                self.record, self.measurement, self.table, name, FeatureStore(work / "features"), work, progress
            )


@dataclass(frozen=True)
class Target:
    """Where a model goes.

    Attributes:
        results: The results folder.
        name: Promoted under this name, or None.
        folder: Into this folder, or None.
    """

    results: Path
    name: str | None
    folder: Path | None

    def check(self) -> None:
        """Fail now rather than after the fit; the folder is made.

        Raises:
            StoreError: The folder cannot be written.
            UsageError: There cannot be such a name or folder.
        """
        if self.name is not None:
            Promoted(self.results).check_name(self.name)
        if self.folder is None:
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--out {printable(self.folder)}: is a file. Name a new folder.")
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise UsageError(f"--out {printable(self.folder)}: is not empty. Name a new folder.")
            with tempfile.TemporaryFile(dir=self.folder):
                pass

    def keep(self, fitted: Bundle) -> Path:
        """Write the model; returns its folder.

        Raises:
            StoreError: It cannot be written.
        """
        if self.name is not None:
            return Promoted(self.results).promote(fitted, self.name).folder
        if self.folder is None:
            raise UsageError("neither a name nor a folder is given.")
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            bundle.write(self.folder, fitted)
        return self.folder

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{printable(self.folder)}: cannot be written ({error.strerror or error}). Name another: --out DIR."
            ) from None


def fitted_job(text: str, results: Path, data: Path | None) -> FittedJob:
    """The job that a user means, with its images.

    Args:
        text: See `models.look_up`; its model need not have been kept.
        results: The results folder.
        data: Folder of the data; None for that of the run, see `RecordedImages`.

    Raises:
        UsageError: It is no job.
        DataError: The images are gone.
        StoreError: They are others than those of the run.
    """
    found = models.look_up(text, results, kept=False)
    record = found.record
    if record is None:
        raise UsageError(f"{text}: a model by itself; only a job can be fitted again. See `anomalybench leaderboard`.")
    measured = [found.measurement] if found.measurement else [one.measurement for one in results_of(record)]
    if not measured or measured[0] is None:
        raise StoreError(f"{record.job}: was measured by older formulas. Run `anomalybench measure` first.")
    return FittedJob(record, measured[0], RecordedImages(data).table(record), results)
