"""Many images through a model, file by file: what cannot be read becomes a row with its reason, the rest goes on.

The next images are decoded while a batch is computed. Nothing is kept in memory but two batches.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import DataError, printable
from anomalybench.core.method import ImageArrays
from anomalybench.deploy.model import Model
from anomalybench.deploy.verdict import Verdict
from anomalybench.evaluate.statistics import STATISTICS, image_statistics
from anomalybench.vision.images import read_rgb

COLUMNS = ("path", "score", "threshold", "verdict", "boxes", "reason", *STATISTICS)
"""Of a table of predictions."""
UNREADABLE = "unreadable"
"""Verdict on a file that is no image."""
_BATCH = 8
_Decoded = tuple[NDArray[np.uint8] | None, str]


@dataclass(frozen=True)
class Predicted:
    """What a model says of one file.

    Attributes:
        path: The file.
        verdict: Score, verdict and boxes; None where it cannot be read.
        reason: Why it cannot be read.
        statistics: Of the image: see `evaluate.statistics`.
    """

    path: Path
    verdict: Verdict | None = None
    reason: str = ""
    statistics: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """One cell for each of `COLUMNS`; boxes are lists of top, left, bottom and right."""
        one = self.verdict
        cells: dict[str, Any] = {
            "path": path_text(self.path),
            "score": None if one is None else one.score,
            "threshold": None if one is None else one.threshold,
            "verdict": UNREADABLE if one is None else one.verdict,
            "boxes": None if one is None else [list(map(int, box)) for box in one.boxes],
            "reason": self.reason or None,
        }
        return cells | {name: self.statistics.get(name) for name in STATISTICS}

    def without_pixels(self) -> "Predicted":
        """The same without image and map, of which many would fill the memory."""
        kept = self.verdict and replace(self.verdict, image=None, map=None)
        return replace(self, verdict=kept)


def path_text(path: Path) -> str:
    """A path as tables have it: what UTF-8 lacks, as in a file name in another code, is written with a backslash."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def predictions(model: Model, files: Iterable[Path]) -> Iterator[Predicted]:
    """What the model says of each file, in their order."""
    with ThreadPoolExecutor(1) as ahead:
        waiting: list[tuple[tuple[Path, ...], Future[list[_Decoded]]]] = []
        left = iter(files)
        while chunk := tuple(islice(left, _BATCH)):
            waiting.append((chunk, ahead.submit(_decoded, chunk, model.card.bits)))
            if len(waiting) > 1:
                yield from _judged(model, *waiting.pop(0))
        for one in waiting:
            yield from _judged(model, *one)


def _decoded(chunk: tuple[Path, ...], bits: int) -> list[_Decoded]:
    found: list[_Decoded] = []
    for path in chunk:
        try:
            found.append((read_rgb(path, bits), ""))
        except DataError as error:
            found.append((None, str(error)))
    return found


def _judged(model: Model, chunk: tuple[Path, ...], decoding: "Future[list[_Decoded]]") -> Iterator[Predicted]:
    decoded = decoding.result()
    images = [image for image, _ in decoded if image is not None]
    try:
        verdicts = iter(model.verdicts(ImageArrays(images)) if images else ())
    except DataError:  # the engine refuses one of them: the others go on by themselves
        yield from (_alone(model, path, *one) for path, one in zip(chunk, decoded, strict=True))
        return
    for path, (image, reason) in zip(chunk, decoded, strict=True):
        if image is None:
            yield Predicted(path, reason=reason)
        else:
            yield Predicted(path, next(verdicts), statistics=image_statistics(image))


def _alone(model: Model, path: Path, image: NDArray[np.uint8] | None, reason: str) -> Predicted:
    if image is None:
        return Predicted(path, reason=reason)
    try:
        return Predicted(path, model.verdicts(ImageArrays([image]))[0], statistics=image_statistics(image))
    except DataError as error:
        return Predicted(path, reason=f"{printable(path)}: {error}")
