"""How well a job's maps locate the defects: maps brought to the size of the masks, counted image by image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalybench.core.dataset import ANOMALOUS, Item
from anomalybench.core.files import none_for_nan
from anomalybench.core.method import ImageArrays, Images, Method
from anomalybench.evaluate import boxes, catalogue, faithfulness, map_codes
from anomalybench.evaluate.faithfulness import Faithfulness, Picture
from anomalybench.evaluate.pixel import explain, resize_map
from anomalybench.evaluate.pixel_resamples import PixelResamples
from anomalybench.vision.images import read_mask, read_rgb, upright_size

_THUMBNAIL = (32, 32)
_SEARCHED = 500
"""So many normal train images are looked at for one that is like a defective image."""


@dataclass(frozen=True)
class Located:
    """What maps are worth; empty without masks.

    Attributes:
        metrics: Pixel, explanation and box metrics by their names in the catalogue.
        resamples: Pixel metrics in every resample of the test images.
    """

    metrics: dict[str, int | float | None] = field(default_factory=dict)
    resamples: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def measure(
    root: Path,
    items: Sequence[Item],
    maps: NDArray[np.float32],
    called: NDArray[np.bool_],
    weight: NDArray[np.float32],
) -> Located:
    """Pixel, explanation and box metrics of test images; empty where no item has a mask.

    Defective images without a mask are left out and counted (`n_without_mask`): nothing says which of their pixels are
    good. Boxes are drawn where the image is called anomalous: on a good image they are all false, and elsewhere an
    image's defects count as not found.

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
    counts = PixelResamples(map_codes.counting_edges(map_codes.distinct(maps)))
    explanations, pairs = [], []
    for item, coarse, anomalous, used in zip(items, maps, called, usable, strict=True):
        if not used:
            continue
        full = resize_map(coarse, upright_size(root / item.path))
        mask = read_mask(root / item.mask) if item.mask else None
        counts.add(full, mask)
        predicted = boxes.components(full) if anomalous else []
        if mask is not None and mask.any():
            explanations.append(explain(full, mask))
            pairs.append((predicted, boxes.mask_boxes(mask)))
        elif item.label != ANOMALOUS:
            pairs.append((predicted, []))
    fit = boxes.fit(pairs)
    found: dict[str, float] = {
        **catalogue.measure_pixels(counts.total),
        "pointing_game": _mean([float(e.hit) for e in explanations]),
        "relevance_mass": _mean([e.mass for e in explanations]),
        "box_iou": fit.iou,
        **{f"box_precision_{level}": value for level, value in fit.precision.items()},
        **{f"box_recall_{level}": value for level, value in fit.recall.items()},
        "n_without_mask": int((~usable).sum()),
    }
    return Located(none_for_nan(found), counts.resample(weight[:, usable]))


def faithful(
    method: Method, root: Path, items: Sequence[Item], maps: NDArray[np.float32], most: int, normal: Images, bits: int
) -> dict[str, int | float | None]:
    """Mean insertion and deletion areas over the first `most` defective items; empty where that is 0.

    Pixels are exchanged with those of the normal train image that is most like the image. Images whose score that does
    not lower are left out of the means; `replacement_lowers` is the share of the others.

    Args:
        method: The fitted method.
        root: What the items' paths are relative to.
        items: n test items.
        maps: n x h x w, in the order of the items.
        most: How many images to measure: 40 more predictions each.
        normal: Normal train images; nothing is measured where there are none.
        bits: Bits in use of 16-bit images.
    """
    defective = [i for i, item in enumerate(items) if item.label == ANOMALOUS]
    if not most or not defective or not len(normal):
        return {}
    thumbnails = [_resized(normal[i], _THUMBNAIL) for i in range(min(len(normal), _SEARCHED))]
    found: list[Faithfulness] = []
    for i in defective[:most]:
        image = read_rgb(root / items[i].path, bits)
        size = image.shape[1], image.shape[0]
        alike = normal[faithfulness.nearest(_resized(image, _THUMBNAIL), thumbnails)]
        full = resize_map(maps[i], size)
        found.append(
            faithfulness.measure(
                lambda shown: method.predict(ImageArrays(shown)).scores, image, full, _resized(alike, size)
            )
        )
    means = {
        "insertion_auc": _mean([one.insertion for one in found]),
        "deletion_auc": _mean([one.deletion for one in found]),
        "replacement_lowers": _mean([float(one.lowers) for one in found]),
    }
    return none_for_nan(means)


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Brought to (width, height)."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def _mean(values: Sequence[float]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
