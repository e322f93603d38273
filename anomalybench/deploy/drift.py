"""Whether the images that a model gets are still like those that it was calibrated on.

The reference are the normal calibration images as the card keeps them: their scores, brightness, contrast, sharpness
and size. A quantity has changed if chance alone does not explain it (Kolmogorov-Smirnov test, 5 % over all quantities
by Holm), and the population stability index, less what chance adds to it, passes its usual limits: .1 moderate, .25
strong. Of 1,000 simulated streams without any change, 30 or 200 images beside 20 calibration images raise an alarm in
1 to 4 % (`tests/deploy/test_drift.py`).

Scores: a stream holds defective images, the reference holds none. So the images that are called normal are compared
with the calibration images that would be called normal, too. This hides what pushes all scores above the threshold;
hence a remark of its own where most images are called anomalous.

The test takes images to be independent. Images of one part or of one minute are alike: look at a longer time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from anomalybench.core.model_card import ModelCard
from anomalybench.evaluate import drift_measures
from anomalybench.evaluate.drift_measures import MODERATE, STRONG, values_of
from anomalybench.evaluate.paired_tests import holm
from anomalybench.evaluate.statistics import STATISTICS

Level = Literal["none", "moderate", "strong"]
Floats = NDArray[np.float64]
SCORE = "score"
_LEVELS: tuple[Level, ...] = ("none", "moderate", "strong")
_ALPHA = 0.05
_LEAST = 5
"""With fewer values on a side, nothing is compared."""
_FEW = 10
_ASIDE = 0.75
"""A median that lies beyond so many calibration images has moved; else the spread has changed."""
_MOSTLY, _SELDOM = 2 / 3, 0.25
"""Nearly all images are called anomalous: more than this share, but less than that of the normal calibration images."""
_WORDS = {
    "brightness": ("the light has changed: the images are {} than in the calibration", "brighter", "darker"),
    "contrast": ("the images have {} contrast than in the calibration", "more", "less"),
    "sharpness": ("the images are {} than in the calibration", "sharper", "less sharp"),
    SCORE: ("scores have moved: those of images called normal are {} than in the calibration", "higher", "lower"),
}


@dataclass(frozen=True)
class Quantity:
    """One quantity of the new images beside that of the calibration images.

    Attributes:
        name: `score`, or a statistic of images.
        images: How many new images have it.
        reference: How many calibration images it is compared with.
        median: Of the new images.
        reference_median: Of the calibration images.
        psi: Population stability index.
        chance: What the index is on average without any change, with so few images.
        ks: Kolmogorov-Smirnov distance, 0 to 1.
        p: Its p-value, adjusted by Holm over all quantities.
        level: How much it has changed.
    """

    name: str
    images: int
    reference: int
    median: float
    reference_median: float
    psi: float
    chance: float
    ks: float
    p: float
    level: Level


@dataclass(frozen=True)
class Drift:
    """What has changed.

    Attributes:
        images: How many images have a score.
        anomalous: How many of them are called anomalous.
        level: Of the quantity that has changed most.
        quantities: All that could be compared.
        sentences: What to say about it, in plain words; never empty.
    """

    images: int
    anomalous: int
    level: Level
    quantities: tuple[Quantity, ...]
    sentences: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return asdict(self)


class _Pair(NamedTuple):
    """A quantity before it is compared: values of the new images and of the calibration images."""

    name: str
    new: Floats
    known: Floats


def report(card: ModelCard, scores: Sequence[float], statistics: Mapping[str, Sequence[float]]) -> Drift:
    """Compare images that a model was given with its calibration images.

    Args:
        card: The model's card.
        scores: Scores of the images; what is not finite does not count.
        statistics: Statistics of the images by name, as `evaluate.statistics.image_statistics` measures them; what is
            absent is not compared.
    """
    threshold, count = card.decision.threshold, card.decision.normal
    new, known = _finite(scores), values_of(card.normal_scores, count)
    pairs = [_Pair(SCORE, new[new <= threshold], known[known <= threshold])]
    pairs += [
        _Pair(name, _finite(statistics[name]), values_of(card.statistics[name], count))
        for name in STATISTICS
        if name in statistics and name in card.statistics
    ]
    compared = [pair for pair in pairs if pair.new.size >= 1 and pair.known.size >= _LEAST]
    quantities = _compared(compared)
    flagged = int((new > threshold).sum())
    mostly = _mostly(flagged, new.size, known, threshold)
    levels: list[Level] = ["moderate" if mostly else "none", *(one.level for one in quantities)]
    level = max(levels, key=_LEVELS.index)
    said = [*_sentences(quantities, compared), *mostly]
    return Drift(int(new.size), flagged, level, quantities, tuple(said or _nothing(quantities, new.size)))


def _finite(values: Sequence[float]) -> Floats:
    array = np.asarray(values, np.float64).ravel()
    return array[np.isfinite(array)]


def _compared(pairs: Sequence[_Pair]) -> tuple[Quantity, ...]:
    tests = [drift_measures.distance(pair.new, pair.known) for pair in pairs]
    found = []
    for pair, test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        index = drift_measures.stability(pair.new, pair.known)
        medians = float(np.median(pair.new)), float(np.median(pair.known))
        level = _level(index.value - index.chance, p)
        sizes = int(pair.new.size), int(pair.known.size)
        found.append(Quantity(pair.name, *sizes, *medians, index.value, index.chance, test.value, p, level))
    return tuple(found)


def _level(excess: float, p: float) -> Level:
    if p >= _ALPHA or excess < MODERATE:
        return "none"
    return "strong" if excess >= STRONG else "moderate"


def _mostly(flagged: int, n: int, known: Floats, threshold: float) -> list[str]:
    """A sentence where most images are called anomalous, far more than chance does with normal ones."""
    expected = ((known > threshold).sum() + 1) / (known.size + 2) if known.size else 1.0
    if n == 0 or flagged <= _MOSTLY * n or expected >= _SELDOM or stats.binom.sf(flagged - 1, n, expected) >= 0.01:
        return []
    return [f"{flagged} of {n} images are called anomalous: either most are defective, or the scores have moved. "
            "Look at some of them"]  # fmt: skip


def _sentences(quantities: Sequence[Quantity], pairs: Sequence[_Pair]) -> list[str]:
    size = _size({pair.name: pair for pair in pairs})
    changed = [
        _sentence(one, pair.known)
        for one, pair in zip(quantities, pairs, strict=True)
        if one.level != "none" and not (size and one.name in ("width", "height"))
    ]
    return changed + size


def _sentence(one: Quantity, known: Floats) -> str:
    """What a changed quantity means."""
    below = drift_measures.share_below(one.median, known)
    medians = f"median {one.median:.4g}", f"median {one.reference_median:.4g}"
    if max(below, 1 - below) < _ASIDE:
        return f"{one.name} varies otherwise than in the calibration ({medians[0]}, there {medians[1]})"
    higher = below > 0.5
    where = f"above {_percent(below)}" if higher else f"below {_percent(1 - below)}"
    text, more, less = _WORDS.get(one.name, (f"the {one.name} of the images is {{}} than in the calibration", "greater",
                                             "smaller"))  # fmt: skip
    return f"{text.format(more if higher else less)} ({medians[0]}: {where} of the calibration, which has {medians[1]})"


def _size(pairs: Mapping[str, _Pair]) -> list[str]:
    """A sentence on images of another size, where all calibration images had one size."""
    if not {"width", "height"} <= pairs.keys() or any(np.ptp(pairs[name].known) for name in ("width", "height")):
        return []
    known = int(pairs["width"].known[0]), int(pairs["height"].known[0])
    n = min(pairs["width"].new.size, pairs["height"].new.size)
    sizes = np.stack([pairs[name].new[:n] for name in ("width", "height")], axis=1).astype(int)
    other, times = np.unique(sizes[(sizes != known).any(1)], axis=0, return_counts=True)
    if not times.size:
        return []
    width, height = other[times.argmax()]
    many = f" and {times.size - 1} other sizes" if times.size > 1 else ""
    return [f"another image size: {width} x {height}{many} ({times.sum()} of {n} images), "
            f"the calibration had {known[0]} x {known[1]}"]  # fmt: skip


def _percent(share: float) -> str:
    return "all" if share >= 1 else f"{math.floor(100 * share)} %"


def _nothing(quantities: Sequence[Quantity], n: int) -> list[str]:
    """What to say where nothing has changed, or nothing can be said."""
    if not quantities:
        return ["nothing can be compared: there are no images, or the model's card holds too few of its calibration"]
    few = f"; {n} images show only large changes" if n < _FEW else ""
    return [f"the images look like those of the calibration{few}"]
