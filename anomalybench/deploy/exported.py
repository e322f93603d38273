"""What the engines of exported files share: the card that travels in the file, and images one by one.

Each image is computed by itself. So its result depends on no other image, bit by bit, and images may have any sizes. In
batches, scores of some methods change in their last digits, and nothing is gained: on one core with ONNX Runtime, PaDiM
takes 11.8 ms per image by itself and 12.7 in batches of 8, PatchCore 17 and 25, STFPM 16 and 24, an autoencoder 3.8
and 5.2.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import DataError
from anomalybench.core.method import Images, Prediction
from anomalybench.core.model_card import ModelCard

LONGEST = 32_767
"""Pixels per axis that the resize of an exported file is exact for, see `onnx_resize`."""
CARD_KEY = "card"
"""Where a file's metadata keep the whole card, as JSON."""
IMAGE, SCORE, MAP = "image", "score", "map"
"""Names of the graph's input and outputs."""
_PRIVATE = ("command", "host")
Run = Callable[[NDArray[np.uint8]], Sequence[NDArray[Any]]]
"""From images n x h x w x 3 to scores n, and maps n x side x side where there are any."""


def predictor(run: Run) -> Callable[[Images], Prediction]:
    """The function from images to raw scores and maps that runs an exported file.

    It raises DataError for an image that is longer than what the file's resize is exact for.
    """

    def predict(images: Images) -> Prediction:
        outputs = [run(_checked(image)[None]) for image in images]
        if not outputs:
            return Prediction(np.zeros(0, np.float32))
        scores, *maps = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        return Prediction(scores, maps[0] if maps else None)

    return predict


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if max(height, width) > LONGEST:
        raise DataError(
            f"an image of {width} x {height} pixels: exported files take up to {LONGEST} per axis. Cut it into parts, "
            "or use the engine torch."
        )
    return np.ascontiguousarray(image)


def metadata(card: ModelCard, side: int, created: str) -> Mapping[str, str]:
    """The card as a file carries it: whole under `card`, and what a user looks for under keys of its own.

    Args:
        card: The model's card.
        side: Side of the square that images are resized to.
        created: When the file was made.
    """
    job, weights = card.job, card.weights
    about = {
        "name": card.name,
        "method": job.method.name,
        "dataset": job.dataset.name,
        "category": job.category,
        "job": job.id,
        "record": card.record,
        "threshold": repr(card.decision.threshold),
        "rule": card.decision.rule,
        "anomalous_if": "score > threshold",
        "side": str(side),
        "bits": str(card.bits),
        "weights": "none" if weights is None else f"{weights.backbone} ({weights.source})",
        "licence": "none" if weights is None else weights.licence,
        "fitted": card.environment.get("date", ""),
        "created": created,
        CARD_KEY: public(card).model_dump_json(),
    }
    return {key: value for key, value in about.items() if value}


def public(card: ModelCard) -> ModelCard:
    """The card as it travels: without the name of the machine and the command, whose paths are nobody else's affair."""
    known = {name: value for name, value in card.environment.items() if name not in _PRIVATE}
    return card.model_copy(update={"environment": known})


def same_fit(a: ModelCard, b: ModelCard) -> bool:
    """Whether the models of two cards decide alike: a job that is fitted again keeps its record's id."""
    return (a.arrays, a.decision, a.fitted_on) == (b.arrays, b.decision, b.fitted_on)
