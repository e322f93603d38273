"""What a method may see of the train part: its supervision decides, and nothing else. Fairness lives in this file."""

from collections.abc import Sequence

import numpy as np

from anomalybench.bench import measure
from anomalybench.bench.item_table import ItemTable, build_protocol
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Item
from anomalybench.core.errors import DataError
from anomalybench.core.job import Job
from anomalybench.core.method import Method, Train
from anomalybench.core.protocol import Split
from anomalybench.vision.images import ImageFiles, read_mask


class SkippedError(Exception):
    """The method's supervision and the protocol do not go together."""


def visible(job: Job, method: Method, table: ItemTable, split: Split) -> Sequence[Item]:
    """The train items that the method's supervision allows it to see."""
    supervision = method.supervision()
    if supervision == "nothing":
        return ()
    if supervision == "normals":
        return [item for item in split.train if item.label == NORMAL]
    if not measure.count(split.train, ANOMALOUS):
        reason = f"{job.method.name} learns from {supervision}, but the train part has no anomalous images"
        if not build_protocol(job.protocol).trains_on_defects:
            raise SkippedError(f"{reason} under protocol {job.protocol.name}")
        if not measure.count(table.items, ANOMALOUS):
            raise SkippedError(f"{reason}: there are none in {job.category}")
        raise DataError(f"{job.dataset.name}/{job.category}: {reason}. Add some, or take a method that needs none.")
    return split.train


def files(table: ItemTable, items: Sequence[Item], bits: int) -> ImageFiles:
    """The images of some items, without paths and labels; `bits` as for `vision.images.read_rgb`."""
    paths = [table.root / item.path for item in items]
    return ImageFiles(paths, [table.hashes[item.path] for item in items], bits)


def train_part(method: Method, table: ItemTable, seen: Sequence[Item], bits: int) -> Train:
    """Images of the items that the method is shown, with labels and masks where its supervision allows them."""
    images = files(table, seen, bits)
    if method.supervision() not in ("labels", "masks"):
        return Train(images)
    labels = np.array([item.label for item in seen], np.int64)
    if method.supervision() == "labels":
        return Train(images, labels)
    masks = [None if item.mask is None else read_mask(table.root / item.mask, table.hashes[item.mask]) for item in seen]
    return Train(images, labels, masks)
