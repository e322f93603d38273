"""Two models on the same images: who is better where labels are known, and how far they agree where they are not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from anomalybench.bench import fresh_images
from anomalybench.bench.store import Store
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.model_card import ModelCard
from anomalybench.evaluate import agreement, catalogue, image, uncertainty
from anomalybench.evaluate.agreement import Agreement, Rights
from anomalybench.report import comparison
from anomalybench.report.verdicts import Pair

COMPARED = ("auroc", "balanced_accuracy")
_NAME_IMAGES = "Name images that neither has seen: anomalybench models compare A B IMAGES."


@dataclass(frozen=True)
class Decisions:
    """What a model says of some images.

    Attributes:
        name: The model, as the user calls it.
        scores: One per image.
        threshold: An image is anomalous if its score is greater.
    """

    name: str
    scores: NDArray[np.float64]
    threshold: float

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Its decisions."""
        return np.asarray(self.scores > self.threshold)


@dataclass(frozen=True)
class Labelled:
    """What labelled images say of two models.

    Attributes:
        pairs: By metric, both models with their difference; the better one is a.
        rights: Who is right where they decide differently.
    """

    pairs: dict[str, Pair]
    rights: Rights


@dataclass(frozen=True)
class SharedTest:
    """The test images of two jobs, which are the same ones.

    Attributes:
        a: Scores of the one job's model.
        b: Those of the other.
        labels: 0 or 1 for each image.
        paths: Of the images, as the records name them.
        keys: What is resampled as one, as `bench.measure` does it: so the intervals are those of `compare`.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    keys: tuple[str, ...]


def shared_test(a: ModelCard, b: ModelCard, store: Store) -> SharedTest:
    """What two models' jobs left of the test images that they share.

    Raises:
        UsageError: Their test images differ, one was fitted on them, or a job is not in the store.
    """
    for card in (a, b):
        if card.fitted_on == "train+test":
            raise UsageError(f"{card.name}: was fitted again on its test images, too. {_NAME_IMAGES}")
    if (a.job.images, a.fingerprint) != (b.job.images, b.fingerprint):
        raise UsageError(
            f"the two models were not tested on the same images ({_tested(a)}; {_tested(b)}): one may have been fitted "
            f"on the other's test images. {_NAME_IMAGES}"
        )
    one, other = (_test_part(card, store) for card in (a, b))
    if list(one.index) != list(other.index):
        raise UsageError(f"the jobs {a.record} and {b.record} list other test images. {_NAME_IMAGES}")
    place = f"{a.job.dataset.name}/{a.job.category}"
    named = zip(one.index, one["group"], strict=True)
    return SharedTest(
        one["score"].to_numpy(np.float64),
        other["score"].to_numpy(np.float64),
        one["label"].to_numpy(np.int64),
        tuple(one.index),
        tuple(f"{place}/image {path}" if pd.isna(group) else f"{place}/group {group}" for path, group in named),
    )


def _test_part(card: ModelCard, store: Store) -> pd.DataFrame:
    record = fresh_images.record_of(card, store)
    if record is None:
        raise UsageError(f"{store.results} does not hold the job {card.record} any more. {_NAME_IMAGES}")
    table = store.scores(record)
    return table[table["split"] == "test"].set_index("path").sort_index()


def labelled(a: Decisions, b: Decisions, labels: ArrayLike, keys: Sequence[str]) -> Labelled:
    """Compare two models as `compare` does methods: paired bootstrap over the images.

    Args:
        a: The one.
        b: The other, on the same images.
        labels: 0 or 1 for each image.
        keys: What is resampled as one.

    Raises:
        DataError: A class has no image.
    """
    y = np.asarray(labels, np.int64)
    for label, word in ((1, "defective"), (0, "normal")):
        if not (y == label).any():
            raise DataError(f"no {word} image is left to compare the models on; both classes are needed.")
    weight = uncertainty.weights(list(keys))
    drawn = {one.name: uncertainty.resample(one.scores, y, one.threshold, weight) for one in (a, b)}
    frames = [pd.DataFrame([_row(one, y, keys)]) for one in (a, b)]

    def resamples(name: str, metric: str) -> NDArray[np.floating[Any]] | None:
        return drawn[name].get(metric)

    pairs = {}
    for metric in COMPARED:
        better, other = sorted(frames, key=lambda frame: -float(frame[metric].iloc[0]))
        whole = comparison.difference(better, other, metric, resamples)
        few = comparison.too_few(better, metric, resamples)
        pairs[metric] = Pair(str(better["job"].iloc[0]), str(other["job"].iloc[0]), whole, {}, math.nan, few)
    return Labelled(pairs, agreement.rights(a.anomalous, b.anomalous, y))


def sentences(a: Decisions, b: Decisions, found: Agreement) -> list[str]:
    """What can be concluded from images without labels."""
    differ = found.only_a + found.only_b
    low, high = found.interval
    kappa = "" if math.isnan(found.kappa) else f", Cohen's kappa {found.kappa:.2f}"
    said = [
        f"{a.name} and {b.name} decide alike on {found.images - differ} of {found.images} images ({found.share:.1%}, "
        f"95 % interval {low:.1%} to {high:.1%}{kappa})."
    ]
    if not differ:
        return [*said, "They never differ here; that does not show that they are right."]
    return [
        *said,
        f"{a.name} alone calls {found.only_a} anomalous, {b.name} alone {found.only_b}.",
        "Without labels nothing says who is right: look at these images. Labelled ones would say it: put them into a "
        "folder for each class, good and the kinds of defect, and name the folder above.",
    ]


def _row(one: Decisions, y: NDArray[np.int64], keys: Sequence[str]) -> dict[str, Any]:
    """A finished job, as the table of jobs has it."""
    counted = image.confusion(one.scores, y, one.threshold)
    objects = {
        f"n_test_{word}": len({key for key, label in zip(keys, y, strict=True) if label == value})
        for word, value in (("normal", 0), ("anomalous", 1))
    }
    values = {metric: catalogue.METRICS[metric].of_scores for metric in COMPARED}
    measured = {name: of(one.scores, y, one.threshold) for name, of in values.items() if of is not None}
    return {"job": one.name, "category": "", "seed": 0, "fold": "", **counted._asdict(), **objects, **measured}


def _tested(card: ModelCard) -> str:
    return f"{str(card.job).partition(' ')[2]}, images {card.fingerprint[:8] or 'unknown'}"
