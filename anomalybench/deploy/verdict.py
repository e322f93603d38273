"""What a model says of one image: score, verdict, and where it looks anomalous."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.model_card import MapRange
from anomalybench.evaluate import heat
from anomalybench.evaluate.boxes import Box
from anomalybench.evaluate.pixel import resize_map


@dataclass(frozen=True)
class Verdict:
    """A model's answer for one image; a notebook shows it as a picture.

    Attributes:
        score: Higher means more anomalous.
        threshold: An image with a higher score is anomalous.
        boxes: Half-open pixel ranges around what the map marks, in the image's own pixels; empty for a normal image.
        map: Anomaly map in the model's own cells; None for a method without maps.
        shown: How the map is shown.
        image: RGB, height x width x 3.
    """

    score: float
    threshold: float
    boxes: tuple[Box, ...] = ()
    map: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    shown: MapRange | None = field(default=None, repr=False, compare=False)
    image: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def anomalous(self) -> bool:
        """Whether the score is greater than the threshold."""
        return self.score > self.threshold

    @property
    def verdict(self) -> str:
        """`anomalous` or `normal`."""
        return "anomalous" if self.anomalous else "normal"

    def full_map(self) -> NDArray[np.float32] | None:
        """The map brought to the image's size."""
        if self.map is None or self.image is None:
            return self.map
        height, width = self.image.shape[:2]
        return resize_map(self.map, (width, height))

    def overlay(self) -> NDArray[np.uint8] | None:
        """The image, under its heat map and with the boxes where there are any; None if the image is not at hand."""
        full = self.full_map()
        if self.image is None or full is None or self.shown is None:
            return self.image
        blend = heat.overlay(self.image, full, (self.shown.low, self.shown.high))
        return heat.with_boxes(blend, self.boxes)

    def _repr_png_(self) -> bytes | None:
        from PIL import Image

        picture = self.overlay()
        if picture is None:
            return None
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        return stream.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """Score, threshold, verdict and boxes, as JSON holds them."""
        boxes = [dict(zip(Box._fields, map(int, box), strict=True)) for box in self.boxes]
        return {"score": self.score, "threshold": self.threshold, "verdict": self.verdict, "boxes": boxes}


def judge(
    score: float,
    threshold: float,
    anomaly_map: NDArray[np.float32] | None,
    shown: MapRange | None,
    image: NDArray[np.uint8],
) -> Verdict:
    """The verdict on an image from its raw score and map.

    Args:
        score: Of the image.
        threshold: Of the model.
        anomaly_map: Side x side; None for a method without maps.
        shown: How maps are shown.
        image: RGB, height x width x 3.
    """
    found: tuple[Box, ...] = ()
    if score > threshold and anomaly_map is not None:
        height, width = image.shape[:2]
        found = tuple(heat.predicted_boxes(resize_map(anomaly_map, (width, height))))
    return Verdict(float(score), threshold, found, anomaly_map, shown, image)
