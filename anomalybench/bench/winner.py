"""A job that is chosen to be put to work: its record, its images, and where its model goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anomalybench.bench import models
from anomalybench.bench.item_table import ItemTable, ItemTables, Source
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
        """Fail now rather than after the fit; UsageError for a name or folder that cannot be."""
        if self.name is not None:
            Promoted(self.results).check_name(self.name)
        if self.folder is not None and self.folder.exists() and any(self.folder.iterdir()):
            raise UsageError(f"--out {printable(self.folder)}: is not empty. Name a new folder.")

    def keep(self, fitted: Bundle) -> Path:
        """Write the model; returns its folder.

        Raises:
            StoreError: It cannot be written.
        """
        if self.name is not None:
            return Promoted(self.results).promote(fitted, self.name).folder
        if self.folder is None:
            raise UsageError("neither a name nor a folder is given.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            bundle.write(self.folder, fitted)
        except OSError as error:
            raise StoreError(
                f"{printable(self.folder)}: cannot be written ({error.strerror or error}). Name another: --out DIR."
            ) from None
        return self.folder


def fitted_job(text: str, results: Path, data: Path | None) -> FittedJob:
    """The job that a user means, with its images.

    Args:
        text: See `models.look_up`.
        results: The results folder.
        data: Folder of the data; None for that of the run.

    Raises:
        UsageError: It is a model, but no job's.
        DataError: The images are gone.
    """
    found = models.look_up(text, results)
    record = found.record
    if record is None:
        raise UsageError(f"{text}: a model by itself; only a job can be fitted again. See `anomalybench leaderboard`.")
    measured = [found.measurement] if found.measurement else [one.measurement for one in results_of(record)]
    if not measured or measured[0] is None:
        raise StoreError(f"{record.job}: was measured by older formulas. Run `anomalybench measure` first.")
    table = ItemTables(Source(data or Path(record.root))).get(record.job.dataset, record.job.category)
    return FittedJob(record, measured[0], table, results)
