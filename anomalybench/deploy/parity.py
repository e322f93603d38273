"""Whether an exported file decides as what was measured: on all images of its job, and on images unlike them.

Every other statement of a benchmark is about the fitted method. Whether it holds for the file that is put to work is
shown here. The file runs on all calibration and test images of the job; its scores, maps and decisions are compared
with those of the record, or, for a refit, which no record has measured, with those of the refitted method. A record's
maps are rounded to 65,536 values in all; what lies within that rounding is no difference. So maps are also compared
with the method's own, on some calibration images; and so are images of other sizes, grey and near-black ones, for which
there is no record.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from anomalybench.core.errors import StoreError
from anomalybench.core.method import ImageArrays, Images, Prediction
from anomalybench.deploy.model import Model
from anomalybench.deploy.versions import system, versions
from anomalybench.evaluate.map_codes import MapCodes

PARITY, PARITY_OPENVINO = "parity.json", "parity-openvino.json"
Maps = NDArray[np.floating[Any]]
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_BATCH = 32
_DERIVED = 8
"""So many images are made of each kind that the record has none of."""
_SIZES = ((1.7, 1.7), (0.5, 0.5), (0.31, 1.3), (1.3, 0.31), (2.9, 0.8), (0.77, 2.1), (0.05, 0.05), (1.01, 0.99))
"""Factors of height and width of the resized ones."""


class Difference(BaseModel):
    """How far an exported file is from what it is compared with.

    Attributes:
        images: How many images were compared.
        scores: Largest difference of a score, as a share of the range of the job's scores.
        maps: Largest difference of a map's value beyond the rounding of a record, as a share of the range of the job's
            maps; None without maps.
        decisions: How many images are judged otherwise.
    """

    model_config = _FROZEN

    images: int
    scores: float
    maps: float | None = None
    decisions: int = 0


class Parity(BaseModel):
    """What was found when an exported file was compared.

    Attributes:
        schema_version: Layout of this file.
        engine: What ran the exported file.
        compared_with: `record`, or `method` for a refit, which no record has measured.
        record: Id of the record.
        files: SHA-256 of each exported file by name: what was compared are these.
        size: Their size in bytes.
        measured: The threshold of the record; an image with a higher recorded score was judged anomalous.
        threshold: The threshold of the exported file.
        job: Differences on all calibration and test images of the job.
        derived: Differences from the fitted method by kind of image: calibration images as they are, resized, grey
            and near-black.
        versions: Of the packages that had a part in it.
        platform: Operating system and processor.
    """

    model_config = _FROZEN

    schema_version: int = 1
    engine: str
    compared_with: Literal["record", "method"]
    record: str
    files: dict[str, str]
    size: int
    measured: float
    threshold: float
    job: Difference
    derived: dict[str, Difference] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    platform: str = ""


@dataclass(frozen=True)
class Evidence:
    """What an exported file is compared with, on the images of its job.

    Attributes:
        images: The job's calibration images, then its test images.
        calibration: How many are calibration images.
        scores: Their scores.
        maps: Their maps, n x side x side, or the codes of a record; None for a method without maps.
        source: Where scores and maps come from: the job's record, or the fitted method itself.
    """

    images: Images
    calibration: int
    scores: NDArray[np.floating[Any]]
    maps: Maps | MapCodes | None = None
    source: Literal["record", "method"] = "record"


class Expected(NamedTuple):
    """What an exported file should give for some images.

    Attributes:
        scores: n scores.
        low: Least values of the maps, n x side x side; None without maps.
        high: Their greatest values: the same ones, where maps are not rounded.
    """

    scores: NDArray[np.floating[Any]]
    low: Maps | None = None
    high: Maps | None = None


class Scale(NamedTuple):
    """Ranges that differences are shares of, and the thresholds on both sides."""

    scores: float
    maps: float
    expected_threshold: float
    found_threshold: float


def expected(scores: NDArray[np.floating[Any]], maps: Maps | MapCodes | None) -> Expected:
    """What an exported file should give, from scores and maps.

    Args:
        scores: n scores.
        maps: n x side x side; or a record's codes, whose true values lie between those of the neighbouring codes.
    """
    if not isinstance(maps, MapCodes):
        return Expected(scores, maps, maps)
    values = maps.values
    below = np.r_[-np.inf, values[:-1]].astype(np.float32)  # the lowest code stands for an unknown range
    above = np.r_[values[1:], values[-1:]]
    return Expected(scores, below[maps.codes], above[maps.codes])


def compare(known: Expected, found: Prediction, scale: Scale) -> Difference:
    """Differences of an exported file's predictions from what they should be.

    Args:
        known: Of the record or the fitted method.
        found: Of the exported file, for the same images.
        scale: What they are measured by.

    Raises:
        StoreError: The exported file gives no numbers, or maps of another size.
    """
    _check("scores", known.scores, found.scores)
    _check("maps", known.low, found.maps)
    before, after = np.asarray(known.scores, np.float64), np.asarray(found.scores, np.float64)
    maps = None
    if known.low is not None and known.high is not None and found.maps is not None:
        beyond = np.maximum(known.low - found.maps, found.maps - known.high)
        maps = max(float(beyond.max(initial=0)), 0.0) / scale.maps
    return Difference(
        images=before.size,
        scores=float(np.abs(before - after).max(initial=0)) / scale.scores,
        maps=maps,
        decisions=int(((before > scale.expected_threshold) != (after > scale.found_threshold)).sum()),
    )


def prove(
    exported: Model, fitted: Model, evidence: Evidence, files: Sequence[Path], done: Callable[[int], None]
) -> Parity:
    """Run an exported file on all images of its job and on derived ones.

    Args:
        exported: The exported file as a model.
        fitted: The fitted method as a model.
        evidence: What the record holds.
        files: The exported file, or files.
        done: Called with the number of images that were compared so far.

    Raises:
        DataError: An image cannot be read or has changed.
        StoreError: The exported file gives no numbers, or maps of another size.
    """
    decision = exported.card.decision
    ranges = _range(evidence.scores), 1.0 if evidence.maps is None else _range(_values(evidence.maps))
    before = decision.measured if evidence.source == "record" else decision.threshold
    by_record = Scale(*ranges, before, decision.threshold)
    by_method = Scale(*ranges, decision.threshold, decision.threshold)
    parts = []
    for start in range(0, len(evidence.images), _BATCH):
        some = slice(start, start + _BATCH)
        known = expected(evidence.scores[some], _part(evidence.maps, some))
        parts.append(compare(known, exported.predict(evidence.images[some]), by_record))
        done(min(start + _BATCH, len(evidence.images)))
    derived = {}
    for kind, images in _derived(evidence):
        own = fitted.predict(images)
        derived[kind] = compare(expected(own.scores, own.maps), exported.predict(images), by_method)
    return Parity(
        engine=exported.engine, compared_with=evidence.source, record=exported.card.record,
        files={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        size=sum(file.stat().st_size for file in files), measured=decision.measured, threshold=decision.threshold,
        job=_together(parts), derived=derived, versions=versions(), platform=system(),
    )  # fmt: skip


def _check(name: str, before: NDArray[Any] | None, after: NDArray[Any] | None) -> None:
    """What the file gives must be numbers of the same shape, whatever their values."""
    shapes = [None if one is None else one.shape for one in (before, after)]
    if shapes[0] != shapes[1]:
        raise StoreError(f"the exported file gives {name} of shape {shapes[1]}, not {shapes[0]}: no faithful copy.")
    if after is not None and not np.isfinite(after).all():
        raise StoreError(f"the exported file gives {name} that are NaN or infinite: it is no faithful copy.")


def _part(maps: Maps | MapCodes | None, some: slice) -> Maps | MapCodes | None:
    if isinstance(maps, MapCodes):
        return MapCodes(maps.codes[some], maps.values)
    return None if maps is None else maps[some]


def _values(maps: Maps | MapCodes) -> Maps:
    return maps.values if isinstance(maps, MapCodes) else maps


def _range(values: NDArray[np.floating[Any]]) -> float:
    return float(np.ptp(values)) or 1.0


def _together(parts: list[Difference]) -> Difference:
    maps = [part.maps for part in parts if part.maps is not None]
    return Difference(
        images=sum(part.images for part in parts),
        scores=max((part.scores for part in parts), default=0.0),
        maps=max(maps) if maps else None,
        decisions=sum(part.decisions for part in parts),
    )


def _derived(evidence: Evidence) -> Iterator[tuple[str, Images]]:
    """Calibration images spread over all of them, as they are and changed, by the kind of the change."""
    places = np.linspace(0, evidence.calibration - 1, min(_DERIVED, evidence.calibration)).round().astype(int)
    images = [evidence.images[int(place)] for place in places]
    yield "as they are", ImageArrays(images)
    yield "resized", ImageArrays([_resized(image, *_SIZES[i % len(_SIZES)]) for i, image in enumerate(images)])
    yield "grey", ImageArrays([np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, 2) for image in images])
    yield "near-black", ImageArrays([image // 32 for image in images])


def _resized(image: NDArray[np.uint8], tall: float, wide: float) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size = max(1, round(width * wide)), max(1, round(height * tall))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
