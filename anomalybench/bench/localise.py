"""How well a job's maps locate the defects: maps brought to the size of the masks, counted image by image."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.dataset import ANOMALOUS, Item
from anomalybench.core.method import Method
from anomalybench.evaluate import boxes, faithfulness
from anomalybench.evaluate.pixel_metrics import explain
from anomalybench.evaluate.pixel_resamples import PixelResamples
from anomalybench.vision.images import read_mask, read_rgb, resize_map, upright_size


@dataclass(frozen=True)
class Located:
    """What maps are worth; empty without masks.

    Attributes:
        metrics: Pixel, explanation and box metrics by name.
        resamples: Pixel metrics in every resample of the test images.
    """

    metrics: dict[str, int | float | None] = field(default_factory=dict)
    resamples: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def measure(
    root: Path,
    items: Sequence[Item],
    maps: NDArray[np.float16],
    called: NDArray[np.bool_],
    weight: NDArray[np.float32],
) -> Located:
    """Pixel, explanation and box metrics of test images; empty where no item has a mask.

    Defective images without a mask are left out and counted (`n_without_mask`): nothing says which of their pixels are
    good. Boxes are drawn where the image is called anomalous; elsewhere its defects count as not found.

    Args:
        root: What the items' paths are relative to.
        items: n test items.
        maps: n x h x w, in the order of the items.
        called: Which of them are called anomalous.
        weight: b x n, how often each image counts in each resample.
    """
    if not any(item.mask for item in items):
        return Located()
    usable = np.array([item.label != ANOMALOUS or item.mask is not None for item in items])
    counts, explanations, pairs = PixelResamples(), [], []
    for item, coarse, anomalous, used in zip(items, maps, called, usable, strict=True):
        if not used:
            continue
        full = resize_map(coarse, upright_size(root / item.path))
        mask = read_mask(root / item.mask) if item.mask else None
        counts.add(full, mask)
        if mask is not None and mask.any():
            explanations.append(explain(full, mask))
            pairs.append((boxes.components(full) if anomalous else [], boxes.mask_boxes(mask)))
    fit = boxes.fit(pairs)
    found: dict[str, int | float] = {
        **asdict(counts.total.metrics()),
        "pointing_game": _mean([float(e.hit) for e in explanations]),
        "relevance_mass": _mean([e.mass for e in explanations if not math.isnan(e.mass)]),
        "box_iou": fit.iou,
        **{f"box_precision_{level}": value for level, value in fit.precision.items()},
        **{f"box_recall_{level}": value for level, value in fit.recall.items()},
        "n_without_mask": int((~usable).sum()),
    }
    metrics = {name: None if math.isnan(value) else value for name, value in found.items()}
    return Located(metrics, counts.resample(weight[:, usable]))


def faithful(
    method: Method, root: Path, items: Sequence[Item], maps: NDArray[np.float16], most: int
) -> dict[str, int | float | None]:
    """Mean insertion and deletion areas over the first `most` defective items; empty where that is 0.

    Args:
        method: The fitted method.
        root: What the items' paths are relative to.
        items: n test items.
        maps: n x h x w, in the order of the items.
        most: How many images to measure: 40 more predictions each.
    """
    defective = [i for i, item in enumerate(items) if item.label == ANOMALOUS]
    if not most or not defective:
        return {}
    found = []
    for i in defective[:most]:
        image = read_rgb(root / items[i].path)
        full = resize_map(maps[i], (image.shape[1], image.shape[0]))
        found.append(faithfulness.measure(lambda pictures: method.predict(pictures).scores, image, full))
    kept = [pair for pair in found if not math.isnan(pair.insertion)]
    means = {"insertion_auc": _mean([p.insertion for p in kept]), "deletion_auc": _mean([p.deletion for p in kept])}
    return {name: None if math.isnan(value) else value for name, value in means.items()}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
