"""Speed of the coreset: `pytest tests/perf --benchmark-only`. Ordinary runs only check that both sides agree."""

import numpy as np
import pytest
import torch

from anomalybench.methods._memory import coreset


def patches(n, d=128):
    """Clusters of unequal size and width, as the patches of a product have."""
    rng = np.random.default_rng(0)
    middles, widths = rng.normal(0, 3, (20, d)), rng.uniform(0.2, 2, 20)
    of = (rng.random(n) ** 2 * 20).astype(int)
    return torch.from_numpy((middles[of] + rng.normal(size=(n, d)) * widths[of, None]).astype(np.float32))


def ours(x, count):
    return coreset(x, count, np.random.default_rng(0))


def plain(x, count):
    """One pass over all patches for each centre, as the public implementations do."""
    chosen = [int(np.random.default_rng(0).integers(len(x)))]
    distance = (x - x[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (x - x[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen), float(distance.max())


def test_both_sides_agree():
    x = patches(2000)
    (found, reached), (expected, least) = ours(x, 200), plain(x, 200)
    assert found.tolist() == expected.tolist()
    assert reached == pytest.approx(least, rel=1e-3)


@pytest.mark.benchmark(group="2,000 centres of 20,000 patches in 128 dimensions")
@pytest.mark.parametrize("side", [ours, plain])
def test_ratio(benchmark, side):
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-only")
    benchmark.pedantic(side, (patches(20_000), 2000), rounds=1)
