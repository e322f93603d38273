"""PatchCore against a small computation in numpy, at its edges, and through the command line."""

import re

import numpy as np
import pytest
import torch
from procedural import noise, painted
from scipy import ndimage
from scipy.special import softmax

from anomalybench.bench.store import Store
from anomalybench.core import parameters, registry
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.method import Context, Train
from anomalybench.methods._maps import full_maps
from anomalybench.methods._memory import patches

SMALL = {"backbone": "random@timm:resnet18", "size": 64}


def fitted(images, context=None, **params):
    method = parameters.build(registry.method("patchcore"), "patchcore", {**SMALL, **params})
    method.fit(Train(images), context or Context(seed=0))
    return method


def vectors(method, images):
    """Patches by image, in double precision: n x patches x channels."""
    found = patches(method.frozen_(images), pool=True, upsample="bilinear").numpy().astype(np.float64)
    return found.reshape(*found.shape[:2], -1).transpose(0, 2, 1)


def distances(rows, memory):
    return np.linalg.norm(rows[:, None] - memory[None], axis=2)


def test_patches_are_averaged_over_their_neighbours_and_the_coarse_layer_brought_to_the_fine_grid():
    method = fitted(noise(2))
    fine, coarse = (layer.numpy() for layer in method.frozen_(noise(1, 3)))
    found = patches(method.frozen_(noise(1, 3)), pool=True, upsample="bilinear")[0].numpy()
    assert found.shape == (fine.shape[1] + coarse.shape[1], 8, 8)
    mean = ndimage.uniform_filter(fine[0].astype(float), (0, 3, 3), mode="constant")
    assert found[: fine.shape[1]] == pytest.approx(mean, abs=1e-4)
    mean = ndimage.uniform_filter(coarse[0].astype(float), (0, 3, 3), mode="constant")
    at = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    for channel in (0, 100):
        large = ndimage.map_coordinates(mean[channel], np.meshgrid(at, at, indexing="ij"), order=1)
        assert found[fine.shape[1] + channel] == pytest.approx(large, abs=1e-4)


def test_everything_kept_is_brute_force_over_all_patches():
    train, test = noise(4), [*noise(2, 5), painted()]
    method = fitted(train, ratio=1.0)
    memory = vectors(method, train).reshape(-1, 384)
    found = method.predict(test)
    coarse = np.stack([distances(rows, memory).min(1).reshape(8, 8) for rows in vectors(method, test)])
    assert method.memory_.shape == memory.shape
    assert found.scores == pytest.approx(coarse.max((1, 2)), rel=1e-4)
    assert found.maps == pytest.approx(full_maps(torch.from_numpy(coarse), 64).numpy(), rel=1e-3)


@pytest.mark.parametrize("neighbours", [2, 9, 500])
def test_re_weighting_is_equation_7(neighbours):
    train, test = noise(4), [*noise(2, 5), painted()]
    method, plain = (fitted(train, ratio=0.2, neighbours=n) for n in (neighbours, 0))
    memory = method.memory_.numpy().astype(np.float64)
    expected = []
    for rows in vectors(method, test):
        apart = distances(rows, memory)
        worst = apart.min(1).argmax()
        nearest = apart[worst].argmin()
        around = np.argsort(distances(memory[[nearest]], memory)[0], kind="stable")[:neighbours]
        weight = 1 - softmax(apart[worst][around])[0]  # the nearest memory is the first of its own neighbours
        expected.append(weight * apart[worst, nearest])
    assert method.predict(test).scores == pytest.approx(np.array(expected), rel=1e-3)
    assert np.array_equal(method.predict(test).maps, plain.predict(test).maps)
    assert (method.predict(test).scores < plain.predict(test).scores).all()


@pytest.mark.parametrize(("neighbours", "ratio"), [(1, 0.2), (5, 1e-6)])
def test_a_neighbourhood_of_one_leaves_re_weighting_out(neighbours, ratio):
    method, plain = (fitted(noise(3), ratio=ratio, neighbours=n) for n in (neighbours, 0))
    found = method.predict([*noise(2, 5), painted()]).scores
    assert np.array_equal(found, plain.predict([*noise(2, 5), painted()]).scores)
    assert found.min() > 0


def test_the_coreset_is_a_share_of_the_patches_and_covers_the_rest():
    train = noise(5)
    method = fitted(train, ratio=0.1, projection=500)
    rows = vectors(method, train).reshape(-1, 384)
    memory = method.memory_.numpy().astype(np.float64)
    apart = distances(rows, memory).min(1)
    assert len(memory) == int(0.1 * len(rows))
    assert (apart < 1e-5).sum() >= len(memory)
    assert method.radius_ == pytest.approx(apart.max(), rel=1e-3)
    assert distances(memory, memory)[np.triu_indices(len(memory), 1)].min() >= 0.99 * method.radius_
    kept = rows[np.random.default_rng(0).permutation(len(rows))[: len(memory)]]
    assert method.radius_ < distances(rows, kept).min(1).max()


def test_projection_chooses_otherwise_and_keeps_whole_vectors():
    found = [fitted(noise(4), projection=p).memory_ for p in (500, 4)]
    assert found[0].shape == found[1].shape == (25, 384)
    assert not torch.equal(*found)


@pytest.mark.parametrize(("images", "params"), [(noise(1), {}), (noise(4), {"ratio": 1e-6})])
def test_a_single_image_and_a_single_centre(images, params):
    method = fitted(images, **params)
    found = method.predict([*noise(2, 5), painted()])
    assert len(method.memory_) == (1 if params else 6)
    assert np.isfinite(found.maps).all()
    assert found.scores.argmax() == 2


@pytest.mark.parametrize(("strides", "channels", "side"), [("4,8,16", 448, 16), ("16", 256, 4), (8, 128, 8)])
def test_strides(strides, channels, side):
    method = fitted(noise(2), strides=strides, ratio=1.0)
    assert method.memory_.shape == (2 * side * side, channels)
    assert method.predict([painted()]).maps.shape == (1, 64, 64)


def test_a_stride_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match=r"no stride 7; it has \[2, 4, 8, 16, 32\]"):
        fitted(noise(2), strides="7,8")


def test_maps_point_at_what_is_painted():
    method = fitted(noise(8), backbone="timm:tf_efficientnet_lite0")
    found = method.predict([*noise(3, 5), painted()])
    row, column = np.unravel_index(found.maps[3].argmax(), (64, 64))
    assert (4 <= row < 32, 32 <= column < 60) == (True, True)
    assert found.scores[3] > 2 * found.scores[:3].max()


def test_one_restored_from_its_state_gives_the_same():
    method = fitted(noise(3), neighbours=3)
    loaded = parameters.build(registry.method("patchcore"), "patchcore", {**SMALL, "neighbours": 3})
    loaded.restore(method.state(), Context(seed=5))
    ours, theirs = (one.predict([painted(), *noise(2, 5)]) for one in (method, loaded))
    assert np.array_equal(ours.scores, theirs.scores)
    assert np.array_equal(ours.maps, theirs.maps)
    assert loaded.radius_ == method.radius_


def test_the_ratio_that_the_refusal_names_is_enough():
    images = noise(40)
    with pytest.raises(DataError) as refused:
        fitted(images, ratio=1.0, memory_gb=0.03)
    ratio = float(re.search(r"patchcore\.ratio = (\S+) would fit", str(refused.value))[1])
    assert len(fitted(images, ratio=ratio, memory_gb=0.03).memory_) == int(40 * 64 * ratio)


def test_too_small_a_memory_budget_ends_the_run_with_what_would_fit(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))
    values = ["synthetic.n_normal=20", "synthetic.n_anomalous=4", "patchcore.size=64", "patchcore.ratio=1"]
    values += ["patchcore.backbone=random@timm:resnet18", "patchcore.memory_gb=0.02"]
    options = [word for value in values for word in ("--set", value)]
    what = ["--methods", "patchcore", "--no-floors", "--dataset", "synthetic", "--categories", "tablet"]
    result = cli("run", *what, *options, "--results", tmp_path / "results")
    result.assert_refused("patchcore.ratio = ", "would fit", "patchcore.memory_gb = 0.02")
    (record,) = Store(tmp_path / "results").records()
    assert (record.status, record.bad_input, record.traceback) == ("failed", True, None)
    assert re.search(r"patchcore\.ratio = 0\.\d+ would fit", record.error)
