"""The card of a fitted method, from what its job left."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.core.dataset import ANOMALOUS, NORMAL
from anomalybench.core.method import Method
from anomalybench.core.model_card import Decision, MapRange, ModelCard
from anomalybench.core.record import Measurement, Number, Record
from anomalybench.evaluate import catalogue, heat
from anomalybench.evaluate.statistics import STATISTICS, image_statistics, quantiles
from anomalybench.evaluate.thresholds import Fixed

_MARGIN = 1e-4
"""Greatest distance between the measured threshold and that of the model, as a share of the range of scores."""
_LOWEST = float(np.finfo(np.float64).min)
"""Stands for -inf, which is below every score as well, but no number in JSON."""


@dataclass(frozen=True)
class Seen:
    """What a fitted method gave for the images of its job.

    Attributes:
        scores: One row per calibration and test image, with the columns split, label and score.
        maps: n x h x w in the order of the scores; None for a method without maps.
        normal: The normal calibration images, RGB.
    """

    scores: pd.DataFrame
    maps: NDArray[np.float32] | None
    normal: Iterable[NDArray[np.uint8]]


def make(record: Record, method: Method, seen: Seen) -> ModelCard:
    """The card of a job's model, with the decision of the job's first measurement.

    Args:
        record: Of a job that went well.
        method: The fitted method.
        seen: What it gave.
    """
    known = seen.scores[seen.scores["split"] == "calibration"]
    measured = [image_statistics(image) for image in seen.normal]
    statistics = {name: quantiles([one[name] for one in measured]) for name in STATISTICS} if measured else {}
    first = record.measurements[0]
    return ModelCard(
        job=record.job,
        record=record.id,
        supervision=record.supervision,
        counts=record.counts,
        fingerprint=record.fingerprint,
        input=method.input(),
        bits=record.bits,
        weights=method.weights(),
        decision=decision(first, known),
        maps=None if seen.maps is None else _range(seen.maps, (seen.scores["split"] == "calibration").to_numpy()),
        normal_scores=quantiles(known.loc[known["label"] == NORMAL, "score"]),
        anomalous_scores=quantiles(known.loc[known["label"] == ANOMALOUS, "score"]),
        statistics=statistics,
        notes=(*record.notes, *first.notes),
        environment=record.environment,
        metrics=_metrics(first),
        intervals=_intervals(first),
    )


def with_measurement(card: ModelCard, measurement: Measurement, scores: pd.DataFrame) -> ModelCard:
    """The card with the threshold and the figures of another measurement of the same job.

    Args:
        card: The job's card.
        measurement: The measurement.
        scores: The job's scores.
    """
    known = scores[scores["split"] == "calibration"]
    update = {"decision": decision(measurement, known), "metrics": _metrics(measurement)}
    return card.model_copy(update=update | {"intervals": _intervals(measurement)})


def decision(measurement: Measurement, known: pd.DataFrame) -> Decision:
    """When an image is anomalous, by a measurement and the scores of the calibration images."""
    measured, fitted = measurement.threshold, not measurement.rule.startswith(Fixed.name)
    return Decision(
        threshold=_with_margin(measured, known["score"].to_numpy(np.float64)) if fitted else measured,
        measured=max(measured, _LOWEST),
        rule=measurement.rule,
        fitted=fitted,
        normal=int((known["label"] == NORMAL).sum()),
        anomalous=int((known["label"] == ANOMALOUS).sum()),
    )


def _with_margin(threshold: float, scores: NDArray[np.float64]) -> float:
    """The threshold, moved a little away from a calibration score that it equals or nearly equals.

    Conformal rules take the very score of an image, and another engine's rounding would decide on that image by chance.
    Half-way to the next score, and by 1e-4 of their range at most, every calibration image is judged as before.
    """
    below = float(scores[scores <= threshold].max(initial=-np.inf))
    above = float(scores[scores > threshold].min(initial=np.inf))
    step = min((above - below) / 2, _MARGIN * (float(np.ptp(scores)) or 1.0)) if scores.size else 0.0
    moved = float(np.clip(threshold, below + step, above - step))
    return max(moved, _LOWEST)


def _range(maps: NDArray[np.float32], calibration: NDArray[np.bool_]) -> MapRange:
    low, high = heat.display_range(maps, calibration)
    return MapRange(side=maps.shape[-1], low=low, high=high)


def _metrics(measurement: Measurement) -> dict[str, Number]:
    """Test figures that a card shows: those that have an interval."""
    found = {name: measurement.metrics.get(name) for name in catalogue.names(has_interval=True)}
    return {name: value for name, value in found.items() if value is not None}


def _intervals(measurement: Measurement) -> dict[str, tuple[float, float]]:
    return {name: measurement.intervals[name] for name in _metrics(measurement) if name in measurement.intervals}
