"""Does the score really depend on what the map points at? Insertion and deletion (Petsiuk et al. 2018).

Pixels are exchanged with those of a picture of a normal part, in the order of the map, the highest first: deletion
takes the image's own pixels away, insertion brings them back into the normal picture. A curve is the image's score
after each step, on a scale where 0 is the normal picture and 1 the untouched image, since raw scores have no scale of
their own. A faithful map has a low area under the deletion curve and a high one under the insertion curve.

This means something only where the normal picture has the lower score. Share of 32 defective images (hazelnut,
transistor, cookie at 128 x 128) whose score each replacement lowers, for pixel_knn, padim and patchcore: the image's
mean colour 0, .59 and 0; the mean of the train images at each position 1, .97 and .41; that mean blurred .88, .81 and
0; the most similar train image 1, 1 and 1. Pixels in random order give areas near .5 with pixel_knn, but .85 with padim
and 1 to 2 with patchcore, to which a mixture of two pictures looks odd: compare maps of one method by both areas.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


class Faithfulness(NamedTuple):
    """Areas under the two curves; NaN where the replacement does not lower the image's score.

    Attributes:
        insertion: Area under the insertion curve.
        deletion: Area under the deletion curve.
        lowers: Whether the replacement has a lower score than the image.
    """

    insertion: float
    deletion: float
    lowers: bool


def measure(
    score: Callable[[Sequence[Picture]], NDArray[np.floating]],
    image: Picture,
    anomaly_map: NDArray[np.floating],
    replacement: Picture,
    steps: int = 20,
) -> Faithfulness:
    """Both areas for one image.

    Args:
        score: Image scores of a list of RGB images.
        image: RGB, height x width x 3.
        anomaly_map: height x width; among equal values the first pixel counts as higher.
        replacement: What a normal part would show, of the image's shape.
        steps: Number of equal parts in which pixels are changed.
    """
    order = np.argsort(-anomaly_map.ravel().astype(np.float64), kind="stable")
    ends = np.linspace(0, order.size, steps + 1).round().astype(int)
    deleted = [_mixed(image, replacement, order[:end]) for end in ends]
    inserted = [_mixed(replacement, image, order[:end]) for end in ends[1:-1]]
    scores = score([*deleted, *inserted])
    full, empty = scores[0], scores[steps]
    if full <= empty:
        return Faithfulness(float("nan"), float("nan"), False)
    scaled = (scores - empty) / (full - empty)
    insertion = np.r_[0, scaled[steps + 1 :], 1]
    deletion = scaled[: steps + 1]
    return Faithfulness(float(np.trapezoid(insertion) / steps), float(np.trapezoid(deletion) / steps), True)


def nearest(image: Picture, normal: Sequence[Picture]) -> int:
    """Which of the normal pictures is most like the image: the least squared difference of equally large pictures."""
    distances = [np.square(image.astype(np.float64) - other).sum() for other in normal]
    return int(np.argmin(distances))


def _mixed(below: Picture, above: Picture, pixels: NDArray[np.intp]) -> Picture:
    mixed = below.reshape(-1, 3).copy()
    mixed[pixels] = above.reshape(-1, 3)[pixels]
    return mixed.reshape(below.shape)
