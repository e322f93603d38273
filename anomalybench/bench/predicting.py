"""Predictions of a fitted method, checked: one finite score per image, whatever the other images are; and how fast.

Images are predicted in an order that the seed decides, since their order by path goes class by class: a method whose
scores depended on it would see the labels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.method import Method, Prediction, batch_dependence
from anomalybench.deploy.timing import alone
from anomalybench.vision.images import ImageFiles, batches

_BATCH = 32
_DEPENDENT = 0.01
"""Greatest difference of a score, as a share of the range of all, that can be rounding."""
_LATENCY_IMAGES, _LATENCY_S = 20, 1.0
"""Latency is measured on so many images, or for so long."""


def predict(
    method: Method, images: ImageFiles, seed: int, progress: Callable[[int, int], None] = lambda *_: None
) -> Prediction:
    """Predictions in the order of the images, which are shown in another one."""
    order = np.random.default_rng(seed).permutation(len(images))
    scores: list[NDArray[Any]] = []
    maps: list[NDArray[Any]] = []
    for done, batch in enumerate(batches(images.taken(order), _BATCH)):
        part = method.predict(batch)
        _check_prediction(part, len(batch))
        scores.append(part.scores)
        if part.maps is not None:
            maps.append(part.maps)
        progress(min((done + 1) * _BATCH, len(images)), len(images))
    place = np.argsort(order)
    return Prediction(np.concatenate(scores)[place], np.concatenate(maps)[place] if maps else None)


def check_batches(method: Method, images: ImageFiles, prediction: Prediction) -> None:
    """ValueError where images by themselves get other scores than among others: scores must not depend on the batch."""
    places = [int(prediction.scores.argmin()), int(prediction.scores.argmax())]
    difference = batch_dependence(method, images.taken(places), prediction.scores[places])
    if difference > _DEPENDENT:
        raise ValueError(
            f"predict gives an image by itself another score than among others (relative difference {difference:.2g}); "
            "its scores must not depend on the other images"
        )


def latency(method: Method, images: ImageFiles) -> dict[str, float]:
    """Milliseconds from a decoded image by itself to its score and map, nothing stored in between."""
    spent = alone(method.predict, images, _LATENCY_IMAGES, _LATENCY_S)
    p50, p95 = np.quantile(spent, [0.5, 0.95])
    return {"latency_p50_ms": round(float(p50), 3), "latency_p95_ms": round(float(p95), 3)}


def _check_prediction(part: Prediction, n: int) -> None:
    if part.scores.shape != (n,):
        raise ValueError(f"predict returned scores of shape {part.scores.shape} for {n} images; it must be ({n},)")
    if not np.isfinite(part.scores).all():
        raise ValueError(f"{int((~np.isfinite(part.scores)).sum())} of {n} scores are NaN or infinite")
    if part.maps is None:
        return
    if part.maps.ndim != 3 or part.maps.shape[0] != n:
        raise ValueError(f"predict returned maps of shape {part.maps.shape} for {n} images")
    with np.errstate(over="ignore"):
        if not np.isfinite(part.maps.astype(np.float32)).all():
            raise ValueError("a map holds NaN or infinite values")
