"""What a worker thread does with one image: decode, compute, describe. Nothing here knows of HTTP."""

import base64
import hashlib
import io
import json
import threading
import time
import uuid
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalybench.core.errors import DataError
from anomalybench.core.method import ImageArrays
from anomalybench.core.model_card import MapRange
from anomalybench.deploy.verdict import Verdict
from anomalybench.evaluate.statistics import image_statistics
from anomalybench.service.log import Row, now
from anomalybench.service.refusals import RefusedError, of_image
from anomalybench.service.serving import Loaded
from anomalybench.service.uploads import Upload
from anomalybench.service.window import Seen
from anomalybench.vision.images import decode_rgb

_SCANS = 100
"""A progressive JPEG file has about 10. Each one goes over all pixels: 500 in a file of .2 MB took 11 s."""


class Origin(NamedTuple):
    """Where an image comes from.

    Attributes:
        sha256: Hash of the file's bytes.
        file: Name of the file as it was given.
        part: Id of the part that it shows.
        begun: When the work on it began, by `time.perf_counter`.
    """

    sha256: str
    file: str | None
    part: str | None
    begun: float


@dataclass(frozen=True)
class Examined:
    """A verdict, and what is kept of it.

    Attributes:
        loaded: The version that has decided.
        row: As the log keeps it.
        verdict: With boxes and map, but without the image.
        seen: For the comparison with the calibration images.
    """

    loaded: Loaded
    row: Row
    verdict: Verdict
    seen: Seen


def digest(contents: bytes) -> str:
    """Hash of an image's bytes."""
    return hashlib.sha256(contents).hexdigest()


def decode(upload: Upload, bits: int, max_megapixels: float) -> NDArray[np.uint8]:
    """The pixels of an upload, RGB, height x width x 3.

    Raises:
        RefusedError: It is empty, broken, too large, or of a format that is not allowed.
    """
    name = upload.file or "image"
    try:
        if not upload.contents:
            raise DataError(f"{name}: is empty.")
        if upload.contents.startswith(b"\xff\xd8") and upload.contents.count(b"\xff\xda") > _SCANS:
            raise DataError(f"{name}: a JPEG file of more than {_SCANS} scans. Save it anew.")
        return decode_rgb(upload.contents, name, bits, max_megapixels)
    except DataError as error:
        raise of_image(error) from None


def examine(pixels: NDArray[np.uint8], origin: Origin, loaded: Loaded, slots: threading.Semaphore) -> Examined:
    """The verdict on an image.

    Args:
        pixels: RGB, height x width x 3.
        origin: Where it comes from.
        loaded: The version that decides.
        slots: Bounds how many images are computed at the same time.

    Raises:
        RefusedError: The model gives no number, or refuses the image.
    """
    with slots:
        try:
            verdict = loaded.model.verdicts(ImageArrays([pixels]))[0]
        except DataError as error:
            raise of_image(error) from None
        statistics = image_statistics(pixels)
    if not np.isfinite(verdict.score):
        raise RefusedError(500, f"{loaded.name} version {loaded.version} gave {verdict.score} as score.", "no_score")
    row = Row(
        id=uuid.uuid4().hex,
        time=now(),
        model=loaded.name,
        version=loaded.version,
        part=origin.part,
        file=origin.file,
        sha256=origin.sha256,
        score=verdict.score,
        threshold=verdict.threshold,
        verdict=verdict.verdict,
        ms=round((time.perf_counter() - origin.begun) * 1e3, 3),
        statistics=json.dumps(statistics),
    )
    kept = Verdict(verdict.score, verdict.threshold, verdict.boxes, verdict.map, verdict.shown)
    return Examined(loaded, row, kept, Seen(verdict.score, statistics))


def map_png(anomaly_map: NDArray[np.float32], shown: MapRange) -> str:
    """A map as a grey PNG file in base64: 0 and 255 are the ends of the model's display range."""
    scaled = (anomaly_map.astype(np.float64) - shown.low) / ((shown.high - shown.low) or 1.0)
    grey = np.rint(np.nan_to_num(np.clip(scaled, 0, 1)) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
