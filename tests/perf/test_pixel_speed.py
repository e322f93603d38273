"""Speed of the pixel metrics: `pytest tests/perf --benchmark-only`. Ordinary runs only check that both sides agree."""

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalybench.evaluate.catalogue import measure_pixels
from anomalybench.evaluate.map_codes import counting_edges, distinct
from anomalybench.evaluate.pixel import PixelCounts


def images(n, side):
    rng = np.random.default_rng(0)
    masks = np.zeros((n, side, side), bool)
    masks[::2, side // 8 : side // 4, side // 3 : side // 2] = True
    masks[::4, -side // 5 :, : side // 9] = True
    noise = (rng.normal(0, 1, (side, side)).astype(np.float32) for _ in range(n))
    return [(one + mask).astype(np.float32) for one, mask in zip(noise, masks, strict=True)], masks


def ours(maps, masks, edges=None):
    counts = PixelCounts(counting_edges(distinct(np.stack(maps))) if edges is None else edges)
    for one, mask in zip(maps, masks, strict=True):
        counts.add(one, mask)
    found = measure_pixels(counts)
    return found["pixel_auroc"], found["pixel_ap"], found["aupro_30"]


def plain(maps, masks):
    """One sort over all pixels for each metric, as the public implementations do."""
    values, truth = np.concatenate([m.ravel() for m in maps]).astype(float), np.concatenate([m.ravel() for m in masks])
    weights, regions = [], 0
    for mask in masks:
        labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
        areas = np.bincount(labels.ravel(), minlength=n + 1)
        weights.append(np.where(labels > 0, 1 / areas[labels], 0).ravel())
        regions += n
    order = np.argsort(-values, kind="stable")
    last = np.r_[np.diff(values[order]) != 0, True]
    y = np.r_[0, np.minimum(np.cumsum(np.concatenate(weights)[order])[last] / regions, 1)]
    x = np.r_[0, np.cumsum(~truth[order])[last] / (~truth).sum()]
    inside = x <= 0.3
    area = np.trapezoid(np.r_[y[inside], np.interp(0.3, x, y)], np.r_[x[inside], 0.3]) / 0.3
    return roc_auc_score(truth, values), average_precision_score(truth, values), area


def test_both_sides_agree():
    maps, masks = images(4, 128)
    assert ours(maps, masks) == pytest.approx(plain(maps, masks), abs=1e-9)


def test_memory_does_not_grow_with_the_number_of_images():
    peaks = []
    for n in (2, 8):
        maps, masks = images(n, 512)
        edges = counting_edges(distinct(np.stack(maps)))
        tracemalloc.start()
        ours(maps, masks, edges)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.benchmark(group="160 maps of 1024 x 1024")
def test_full_size(benchmark):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    maps, masks = images(160, 1024)
    benchmark.pedantic(ours, (maps, masks), rounds=3)


@pytest.mark.benchmark(group="12 maps of 1024 x 1024")
@pytest.mark.parametrize("side", [ours, plain])
def test_ratio(benchmark, side):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    maps, masks = images(12, 1024)
    benchmark.pedantic(side, (maps, masks), rounds=2)
