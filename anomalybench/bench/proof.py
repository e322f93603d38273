"""What an exported model is compared with: the images of its job, with their recorded scores and maps."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalybench.bench import models, predicting
from anomalybench.bench.recorded_images import RecordedImages
from anomalybench.bench.store import Store, reading
from anomalybench.core.errors import DataError, StoreError, UsageError
from anomalybench.core.record import Record
from anomalybench.deploy import bundle
from anomalybench.deploy.fitted import Fitted
from anomalybench.deploy.parity import Evidence
from anomalybench.vision.images import ImageFiles

_SIDE = 256


def evidence(record: Record, store: Store, fitted: Fitted, data: Path | None = None) -> Evidence:
    """The images of a model's job with their scores and maps: those of the record; for a refit, of the method itself.

    Args:
        record: The model's record.
        store: Where its scores and maps lie.
        fitted: The model.
        data: Folder of the data; None for the folder of the run, see `RecordedImages`.

    Raises:
        DataError: The images are gone or cannot be read.
        StoreError: They are others than those of the run, or scores or maps are damaged.
    """
    scores = store.scores(record)
    images = _images(record, store, data)
    calibration = int((scores["split"] == "calibration").sum())
    if fitted.card.fitted_on != "train":
        found = predicting.predict(fitted.method, images, record.job.seed)
        return Evidence(images, calibration, found.scores, found.maps, source="method")
    return Evidence(images, calibration, scores["score"].to_numpy(), store.maps(record))


class Place(NamedTuple):
    """Where a model lies, and what is known of it.

    Attributes:
        folder: The model's folder.
        exports: Where its exported files go: the folder itself, or one of its own for a job, whose folder is replaced
            when it is fitted or measured again.
        record: Its record; None where the results folder does not hold it.
        store: Where the record's scores and maps lie.
    """

    folder: Path
    exports: Path
    record: Record | None
    store: Store


def place(text: str, results: Path) -> Place:
    """The model that a user means.

    Args:
        text: See `models.find`.
        results: The results folder.

    Raises:
        StoreError: The model is damaged.
        UsageError: There is no such model.
    """
    folder = models.find(text, results)
    if folder.is_file():
        raise UsageError(f"{folder}: is exported already; name the folder of the model that it was made from.")
    own = reading.record(folder)
    if own is not None:
        exports = models.job_exports(folder)
        return Place(folder, exports, own, Store(exports.parents[1]))
    name, store = bundle.read_card(folder).record, Store(results)
    known = (one for one in store.records() if one.id == name and one.status == "ok")
    return Place(folder, folder, next(known, None), store)


class SomeImages(NamedTuple):
    """Images to time a model with.

    Attributes:
        images: Decoded images.
        real: Whether they are the job's, or noise.
    """

    images: list[NDArray[np.uint8]]
    real: bool


def some_images(place: Place, data: Path | None, most: int) -> SomeImages:
    """The last images of a model's job, which are test images; noise of its input size where they are not at hand."""
    try:
        if place.record is not None:
            return SomeImages(list(_images(place.record, place.store, data)[-most:]), real=True)
    except (DataError, StoreError):
        pass
    side = bundle.read_card(place.folder).input.side or _SIDE
    noise = np.random.default_rng(0).integers(0, 256, (most, side, side, 3), np.uint8)
    return SomeImages(list(noise), real=False)


def _images(record: Record, store: Store, data: Path | None) -> ImageFiles:
    """The images of a record in the order of its scores, none of them changed since."""
    table = RecordedImages(data).table(record)
    paths = list(store.scores(record)["path"])
    return ImageFiles([table.root / path for path in paths], [table.hashes[path] for path in paths], record.bits)
