"""What papers and repositories report, beside our numbers and never mixed with them.

A published number is shown only where dataset, protocol and method match and the category holds as many images as the
paper's: a reduced copy of a data set is another data set.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from anomalybench.core import places
from anomalybench.core.record import Record

MEAN = "mean"
"""Category of a row that is a mean over all of the dataset's categories."""


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        method: Name of our method that does the same.
        dataset: Dataset plugin.
        protocol: Protocol.
        category: Category, or `mean`.
        n_images: Images of the category, or of all categories, train and test together.
        metric: Column of our tables.
        value: As published, in [0, 1].
        source: Where it was read.
    """

    method: str
    dataset: str
    protocol: str
    category: str
    n_images: int
    metric: str
    value: float
    source: str


def read() -> list[Published]:
    """Every row of `published.csv`."""
    with (places.references() / "published.csv").open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return [
            Published(**{**row, "n_images": int(row["n_images"]), "value": float(row["value"])})  # type: ignore[arg-type]
            for row in rows
        ]


def matching(known: Sequence[Published], records: Sequence[Record], *, mean: bool = False) -> list[Published]:
    """What was published for a job, or with `mean` for one method's jobs over all categories.

    Args:
        known: From `read`.
        records: One record; with `mean`, all of one method on one dataset under one protocol.
        mean: Look for the mean over categories.
    """
    job = records[0].job
    sizes: dict[str, int] = defaultdict(int)
    for record in records:  # a failed one has counted nothing
        sizes[record.job.category] = max(sizes[record.job.category], record.counts.images)
    category, images = (MEAN, sum(sizes.values())) if mean else (job.category, records[0].counts.images)
    wanted = (job.method.name, job.dataset.name, job.protocol.name, category, images)
    return [row for row in known if (row.method, row.dataset, row.protocol, row.category, row.n_images) == wanted]


def of(known: Sequence[Published], records: Sequence[Record], *, mean: bool = False) -> str | None:
    """`matching`, in words; None if nothing was published."""
    found = matching(known, records, mean=mean)
    return "; ".join(f"{row.metric} {row.value:.3f} ({row.source})" for row in found) or None
