"""Patch memory: the fast coreset against plain greedy choice, neighbours against brute force."""

import re

import numpy as np
import pytest
import torch

from anomalybench.core.errors import DataError, UsageError
from anomalybench.methods._memory import check_memory, coreset, nearest, parse_strides


def greedy(x, count, first):
    """Farthest first, one centre at a time, in double precision: places and the covering radius."""
    x = x.astype(np.float64)
    chosen, distance = [first], ((x - x[first]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(1))
    return chosen, distance.max() ** 0.5


def radius(x, chosen):
    apart = np.linalg.norm(x[:, None].astype(np.float64) - x[None, chosen], axis=2)
    return apart.min(1).max()


def ours(x, count, seed=0, **blocks):
    chosen, found = coreset(torch.from_numpy(x), count, np.random.default_rng(seed), **blocks)
    return chosen.tolist(), found


def cloud(n=700, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def clusters(n=600, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(0, 10, (8, 5))[rng.integers(8, size=n)] + rng.normal(0, 0.1, (n, 5))).astype(np.float32)
    x[n // 2 :] = x[: n - n // 2]
    return x


@pytest.fixture(params=[1024, 40, 3])
def blocks(request):
    """Fewer candidates and rows at a time than there are vectors, or more."""
    return {"candidates": request.param, "rows": 128}


@pytest.mark.parametrize("count", [1, 2, 70, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_coreset_is_that_of_plain_greedy_choice(blocks, count, seed):
    x = cloud(seed=seed)
    found, reached = ours(x, count, seed, **blocks)
    expected, least = greedy(x, count, int(np.random.default_rng(seed).integers(len(x))))
    assert found == expected
    assert reached == pytest.approx(least, rel=1e-3)
    assert reached == pytest.approx(radius(x, found), rel=1e-3)


@pytest.mark.parametrize("count", [1, 8, 60, 280])
def test_clusters_and_duplicates(blocks, count):
    x = clusters()
    found, reached = ours(x, count, **blocks)
    _, least = greedy(x, count, found[0])
    assert len(set(found)) == count
    assert radius(x, found) <= 1.05 * least
    assert reached == pytest.approx(radius(x, found), rel=0.05)


def test_all_vectors_may_be_chosen(blocks):
    for x in (cloud(90), clusters(90), np.ones((50, 3), np.float32)):
        found, reached = ours(x, len(x), **blocks)
        assert sorted(found) == list(range(len(x)))
        assert reached == 0


def test_a_far_offset_does_not_blur_the_choice():
    x = cloud(300) + np.float32(1000)
    found, reached = ours(x, 30)
    expected, least = greedy(x, 30, found[0])
    assert found == expected
    assert reached == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("k", [1, 4, 99])
def test_nearest_is_brute_force(k):
    queries, memory = cloud(50, seed=1), cloud(40, seed=2)
    queries[:5] = memory[:5]
    apart = np.linalg.norm(queries[:, None].astype(float) - memory[None], axis=2)
    distances, places = nearest(torch.from_numpy(queries), torch.from_numpy(memory), k)
    assert distances.shape == places.shape == (50, min(k, 40))
    assert distances.numpy() == pytest.approx(np.sort(apart, 1)[:, :k], abs=1e-5)
    assert np.array_equal(places.numpy(), np.argsort(apart, 1)[:, :k])
    assert distances[:5, 0].abs().max() == 0


@pytest.mark.parametrize(
    ("text", "strides"), [("8,16", [8, 16]), ("16, 8", [8, 16]), (8, [8]), ("8,8", [8]), ("4,8,16", [4, 8, 16])]
)
def test_strides(text, strides):
    assert parse_strides(text) == strides


@pytest.mark.parametrize("text", ["", "8;16", "8,", "eight", "8.5", "layer2"])
def test_slips_in_strides_are_refused(text):
    with pytest.raises(UsageError, match=r"8,16"):
        parse_strides(text)


@pytest.mark.parametrize("n", [5_000, 51_200, 1_000_003])
@pytest.mark.parametrize("share", [0.000708, 0.012678, 0.126, 0.55568])
def test_the_ratio_that_is_named_fits_and_is_no_smaller_than_need_be(n, share):
    channels = 152
    budget = (n * (3 * channels + 2 * 128) * 4 + share * n * ((channels + 128) * 4 + 16384 * 4)) / 1e9
    with pytest.raises(DataError) as refused:
        check_memory(n, channels, n, budget, "patchcore")
    text = str(refused.value)
    assert f"patchcore.memory_gb = {budget:g}" in text
    ratio = float(re.search(r"patchcore\.ratio = (\S+) would fit", text)[1])
    check_memory(n, channels, max(1, int(n * ratio)), budget, "patchcore")
    with pytest.raises(DataError):
        check_memory(n, channels, int(n * ratio * 1.02) + 2, budget, "patchcore")


def test_where_no_ratio_fits_other_cures_are_named():
    with pytest.raises(DataError, match=r"lower patchcore\.size, or train on fewer images, or raise") as refused:
        check_memory(100_000, 152, 10_000, 0.01, "patchcore")
    assert "would fit" not in str(refused.value)
    check_memory(1000, 152, 100, 4, "patchcore")
