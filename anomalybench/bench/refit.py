"""The winner on all data: a method fitted on its job's train and test images, its threshold from the calibration part.

What was tested is then trained on, so that nothing is left to test the new fit with: its card names the job whose test
figures speak for it, and says that these are of the earlier fit.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from anomalybench.bench import measure, predicting
from anomalybench.bench.environment import environment
from anomalybench.bench.item_table import ItemTable
from anomalybench.bench.visible import SkippedError, files, train_part, visible
from anomalybench.core import parameters, registry
from anomalybench.core.dataset import NORMAL
from anomalybench.core.errors import DataError
from anomalybench.core.method import Context, FeatureCache
from anomalybench.core.protocol import Split
from anomalybench.core.record import Measurement, Record
from anomalybench.deploy import cards
from anomalybench.deploy.bundle import Bundle
from anomalybench.vision.images import bits_in_use

EARLIER = "fitted again on train and test images: the test figures are those of the earlier fit, job {}"


def refit(
    record: Record,
    measurement: Measurement,
    table: ItemTable,
    device: str,
    features: FeatureCache | None = None,
    work: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Bundle:
    """Fit a job's method again on all that is not needed for the threshold.

    Args:
        record: Of the job, which went well.
        measurement: Its threshold rule is used again.
        table: The items of the job's category; they must be those of the record.
        device: Torch device name.
        features: Where frozen features are kept.
        work: Folder for what can be computed again.
        progress: Called with (steps done, steps in all).

    Raises:
        DataError: The images have changed, or the method has nothing to learn from.
    """
    job, split = record.job, _all_data(record, table)
    method = parameters.build(registry.method(job.method.name), job.method.name, job.method.params)
    context = Context(job.seed, device, work, features, progress)
    try:
        seen = visible(job, method, table, split)
    except SkippedError as reason:
        raise DataError(str(reason)) from None
    bits = bits_in_use([table.root / item.path for item in split.train])
    method.fit(train_part(method, table, seen, bits), context)
    prediction = predicting.predict(method, files(table, split.calibration, bits), job.seed, progress)
    scores = measure.score_table(split, prediction)
    rule = measure.threshold_rule(measurement.choice, job, scores["label"].tolist())
    again = record.model_copy(
        update={
            "bits": bits,
            "counts": measure.counts(table, split, seen),
            "environment": environment(device),
            "notes": (EARLIER.format(record.id), *context.notes),
            "measurements": (_with_threshold(measurement, rule.fit(scores["score"], scores["label"])),),
        }
    )
    normal = files(table, [item for item in split.calibration if item.label == NORMAL], bits)
    maps = None if prediction.maps is None else prediction.maps.astype(np.float32)
    card = cards.make(again, method, cards.Seen(scores, maps, normal))
    return Bundle(card.model_copy(update={"fitted_on": "train+test"}), method.state())


def _with_threshold(measurement: Measurement, threshold: float) -> Measurement:
    return measurement.model_copy(update={"threshold": threshold})


def _all_data(record: Record, table: ItemTable) -> Split:
    """Train and test part together, beside the same calibration part."""
    if table.fingerprint != record.fingerprint:
        raise DataError(
            f"{record.job}: the images in {table.root} are not those of the job, which was tested on others. Run it on "
            "these first, then fit that job."
        )
    parts = table.split(record.job)
    return Split((*parts.train, *parts.test), parts.calibration, ())
