"""Speed of resampling: `pytest tests/perf --benchmark-only`. Ordinary runs only check that both sides agree."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from anomalybench.evaluate import uncertainty
from anomalybench.evaluate.pixel_resamples import PixelResamples

NAMES = ["auroc", "average_precision", "balanced_accuracy"]


def images(n):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return rng.normal(labels), labels, [f"image {i}" for i in range(n)]


def ours(scores, labels, keys):
    found = uncertainty.resample(scores, labels, 0.5, uncertainty.weights(keys))
    return np.stack([found[name] for name in NAMES])


def plain(scores, labels, keys, resamples=uncertainty.RESAMPLES):
    """Three calls of scikit-learn per resample."""
    found = []
    for weight in uncertainty.weights(keys)[:resamples].astype(np.float64):
        shares = np.where(labels == 1, weight / weight[labels == 1].sum(), weight / weight[labels == 0].sum())
        shares *= np.where(labels == 1, labels.sum(), (1 - labels).sum())
        found.append(
            (
                roc_auc_score(labels, scores, sample_weight=shares),
                average_precision_score(labels, scores, sample_weight=shares),
                balanced_accuracy_score(labels, scores > 0.5, sample_weight=shares),
            )
        )
    return np.array(found).T


def maps(n, side):
    rng, resamples = np.random.default_rng(0), PixelResamples(np.linspace(-5, 6, 65536, dtype=np.float32))
    for i in range(n):
        mask = np.zeros((side, side), bool)
        mask[side // 8 : side // 4, side // 3 : side // 2] = i % 2
        resamples.add((rng.normal(size=mask.shape) + mask).astype(np.float32), mask)
    return resamples, uncertainty.weights([f"image {i}" for i in range(n)])


def test_both_sides_agree():
    case = images(40)
    assert ours(*case)[:, :50] == pytest.approx(plain(*case, 50), abs=1e-9)


@pytest.mark.benchmark(group="2,000 resamples of 200 images")
@pytest.mark.parametrize("side", [ours, plain])
def test_image_metrics(benchmark, side):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    benchmark.pedantic(side, images(200), rounds=1 if side is plain else 5)


@pytest.mark.benchmark(group="2,000 resamples of 160 maps of 256 x 256, counted before")
def test_pixel_metrics(benchmark):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    resamples, weight = maps(160, 256)
    benchmark.pedantic(resamples.resample, (weight,), rounds=2)
