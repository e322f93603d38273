"""Does the score really depend on what the map points at? Insertion and deletion (Petsiuk et al. 2018).

Pixels are changed in the order of the map, the highest first: deletion paints them in the image's mean colour,
insertion brings them back into the painted image. A curve is the image's score after each step, on a scale where 0 is
the wholly painted image and 1 the untouched one, since raw scores have no scale of their own. A faithful map has a low
area under the deletion curve and a high one under the insertion curve; a random order has both near one half.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


class Faithfulness(NamedTuple):
    """Areas under the two curves; NaN where painting the whole image does not change its score."""

    insertion: float
    deletion: float


def measure(
    score: Callable[[Sequence[Picture]], NDArray[np.floating]],
    image: Picture,
    anomaly_map: NDArray[np.floating],
    steps: int = 20,
) -> Faithfulness:
    """Both areas for one image.

    Args:
        score: Image scores of a list of RGB images.
        image: RGB, height x width x 3.
        anomaly_map: height x width; among equal values the first pixel counts as higher.
        steps: Number of equal parts in which pixels are changed.
    """
    order = np.argsort(-anomaly_map.ravel().astype(np.float64), kind="stable")
    painted = np.broadcast_to(np.rint(image.mean((0, 1))).astype(np.uint8), image.shape)
    ends = np.linspace(0, order.size, steps + 1).round().astype(int)
    deleted = [_mixed(image, painted, order[:end]) for end in ends]
    inserted = [_mixed(painted, image, order[:end]) for end in ends[1:-1]]
    scores = score([*deleted, *inserted])
    full, empty = scores[0], scores[steps]
    if full == empty:
        return Faithfulness(float("nan"), float("nan"))
    scaled = (scores - empty) / (full - empty)
    insertion = np.r_[0, scaled[steps + 1 :], 1]
    return Faithfulness(float(np.trapezoid(insertion) / steps), float(np.trapezoid(scaled[: steps + 1]) / steps))


def _mixed(below: Picture, above: Picture, pixels: NDArray[np.intp]) -> Picture:
    mixed = below.reshape(-1, 3).copy()
    mixed[pixels] = above.reshape(-1, 3)[pixels]
    return mixed.reshape(below.shape)
