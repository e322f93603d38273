"""What a record holds of its images, for the proof that an exported model decides as it does."""

from pathlib import Path

from anomalybench.bench.item_table import ItemTables, Source
from anomalybench.bench.store import Store
from anomalybench.core.errors import StoreError
from anomalybench.core.record import Record
from anomalybench.deploy.parity import Evidence
from anomalybench.evaluate import map_codes
from anomalybench.vision.images import ImageFiles


def evidence(record: Record, store: Store, data: Path | None = None) -> Evidence:
    """The images, scores and maps of a record.

    Args:
        record: Of a job that went well.
        store: Where its scores and maps lie.
        data: Folder of the data; None for the folder of the run.

    Raises:
        DataError: The images are gone or cannot be read.
        StoreError: They are others than those of the run, or scores or maps are damaged.
    """
    scores = store.scores(record)
    coded = store.maps(record)
    source = Source(data or Path(record.root))
    table = ItemTables(source).get(record.job.dataset, record.job.category)
    if table.fingerprint != record.fingerprint:
        raise StoreError(
            f"the images in {table.root} have changed since the run. Name the folder of theirs: --data DIR."
        )
    paths = list(scores["path"])
    images = ImageFiles([table.root / path for path in paths], [table.hashes[path] for path in paths], record.bits)
    return Evidence(
        images=images,
        calibration=int((scores["split"] == "calibration").sum()),
        scores=scores["score"].to_numpy(),
        maps=None if coded is None else map_codes.decode(coded),
    )


def find_record(store: Store, name: str) -> Record | None:
    """The record with this id in a results folder; None where it is not there."""
    return next((one for one in store.records() if one.id == name and one.status == "ok"), None)
