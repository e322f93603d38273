"""Images to compare models on: none that one of them was fitted or calibrated on, whatever its name.

The images of a job are known by the hashes of their contents, from its record and the folder that it read. Where that
folder is gone or has changed, nobody can check, and a remark says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalybench.bench.recorded_images import RecordedImages
from anomalybench.bench.store import Store
from anomalybench.core import parameters, registry
from anomalybench.core.dataset import Item, contents
from anomalybench.core.errors import AnomalyBenchError, DataError, StoreError, printable
from anomalybench.core.model_card import ModelCard
from anomalybench.core.record import Record
from anomalybench.datasets import _layout
from anomalybench.deploy import image_list


@dataclass(frozen=True)
class FreshImages:
    """Images that models have not seen.

    Attributes:
        paths: The files.
        labels: One per image, 0 normal and 1 anomalous; None where they are not known.
        keys: What is resampled as one: an image, or all shots of one object.
        remarks: What a reader should know of them.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    keys: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def record_of(card: ModelCard, store: Store) -> Record | None:
    """The record of the job that a card names; None where the results folder does not hold it."""
    return next((record for record in store.records() if record.id == card.record), None)


def fresh(names: Sequence[str], cards: Sequence[ModelCard], store: Store) -> FreshImages:
    """The images that a user names, without those that a model was fitted or calibrated on.

    Args:
        names: One folder with a sub-folder for each class, or a data set's, whose labels are then known; else files,
            folders and patterns.
        cards: The models' cards.
        store: Where their jobs' records lie.

    Raises:
        UsageError: There is no such file, folder or category.
        DataError: No image is left.
    """
    given = _labelled(names, cards) or _plain(names)
    hashes = contents(Path(), [Item(str(path), "", 0) for path in given.paths])
    known, remarks = set[str](), []
    for card in cards:
        try:
            known |= _known(card, store)
        except AnomalyBenchError as error:
            remarks.append(f"nobody can check whether {card.name} was fitted on some of these images: {error}")
    kept = [i for i, path in enumerate(given.paths) if hashes[str(path)] not in known]
    if lost := len(given.paths) - len(kept):
        remarks.append(f"{lost} of {len(given.paths)} images are left out: a model was fitted or calibrated on them")
    if not kept:
        raise DataError(f"all {lost} images were used to fit or calibrate one of the models. Take new ones.")
    return FreshImages(
        tuple(given.paths[i] for i in kept),
        None if given.labels is None else given.labels[kept],
        tuple(given.keys[i] for i in kept),
        tuple(remarks),
    )


def _known(card: ModelCard, store: Store) -> set[str]:
    """Hashes of the images that a model has seen; DataError where they cannot be known."""
    record = record_of(card, store)
    if record is None:
        raise DataError(f"{store.results} does not hold its job {card.record}")
    try:
        table = RecordedImages().table(record)
    except StoreError:
        raise DataError(f"the images in {printable(record.root)} have changed since") from None
    split = table.split(record.job)
    seen = [*split.train, *split.calibration, *(split.test if card.fitted_on == "train+test" else ())]
    return {table.hashes[item.path] for item in seen}


def _plain(names: Sequence[str]) -> FreshImages:
    paths = tuple(dict.fromkeys(image_list.listed(names, ())))
    return FreshImages(paths, None, tuple(map(str, paths)))


def _labelled(names: Sequence[str], cards: Sequence[ModelCard]) -> FreshImages | None:
    """The images of a folder whose classes can be told by their names; None for anything else."""
    if len(names) != 1 or not Path(names[0]).is_dir():
        return None
    try:
        found = _layout.recognise(Path(names[0]))
    except DataError:
        return None
    plugin = parameters.build(registry.dataset(found.dataset), found.dataset, dict(found.params))
    root = plugin.root(found.data)
    every = found.categories or tuple(plugin.categories(root))
    mine = [one for one in every if one in {card.job.category for card in cards}]
    if len(every) > 1 and len(mine) != 1:
        raise DataError(
            f"{printable(names[0])} holds several categories ({', '.join(every)}). Name the folder of the one that "
            "both models are for."
        )
    items = plugin.load(root, every[0] if len(every) == 1 else mine[0])
    keys = tuple(item.path if item.group is None else f"group {item.group}" for item in items)
    return FreshImages(tuple(root / item.path for item in items), np.array([i.label for i in items], np.int64), keys)
