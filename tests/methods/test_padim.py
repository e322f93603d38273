"""PaDiM against a small computation in numpy, at its edges, and saved."""

import numpy as np
import pytest
import torch
from procedural import noise, painted

from anomalybench.core import parameters, registry
from anomalybench.core.errors import UsageError
from anomalybench.core.method import Context, Train
from anomalybench.methods._maps import full_maps

SMALL = {"backbone": "random@timm:resnet18", "size": 64, "channels": 12}


def fitted(images, context=None, **params):
    method = parameters.build(registry.method("padim"), "padim", {**SMALL, **params})
    method.fit(Train(images), context or Context(seed=0))
    return method


def rows(method, images):
    """The channels that the method took, by position, in double precision: n x channels x positions."""
    fine, *coarser = [layer.numpy().astype(np.float64) for layer in method.frozen_(images)]
    times = [fine.shape[2] // layer.shape[2] for layer in coarser]
    repeated = [layer.repeat(k, 2).repeat(k, 3) for layer, k in zip(coarser, times, strict=True)]
    found = np.concatenate([fine, *repeated], 1)
    return found[:, method.channels_].reshape(len(images), len(method.channels_), -1)


@pytest.mark.parametrize(("n", "regulariser"), [(30, 0.01), (30, 0.5), (5, 0.01), (2, 0.01)])
def test_distance_is_mahalanobis_with_a_covariance_of_each_position(n, regulariser):
    train, test = noise(n), [*noise(2, 5), painted()]
    method = fitted(train, regulariser=regulariser)
    seen, asked = rows(method, train), rows(method, test)
    coarse = np.empty((3, seen.shape[2]))
    for place in range(seen.shape[2]):
        covariance = np.cov(seen[:, :, place], rowvar=False, ddof=1) + regulariser * np.eye(12)
        away = asked[:, :, place] - seen[:, :, place].mean(0)
        coarse[:, place] = np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away))
    maps = full_maps(torch.from_numpy(coarse.reshape(3, 8, 8)), 64).numpy()
    found = method.predict(test)
    assert found.maps == pytest.approx(maps, rel=2e-3)
    assert found.scores == pytest.approx(maps.max((1, 2)), rel=2e-3)


def test_a_single_image_has_the_regulariser_alone():
    method = fitted(noise(1))
    away = rows(method, [painted()])[0] - rows(method, noise(1))[0]
    coarse = np.linalg.norm(away, axis=0).reshape(1, 8, 8) / 0.1
    assert method.predict([painted()]).maps == pytest.approx(full_maps(torch.from_numpy(coarse), 64).numpy(), rel=1e-3)


@pytest.mark.parametrize(("n", "said"), [(1, True), (12, True), (13, False)])
def test_fewer_images_than_channels_are_noted(n, said):
    context = Context(seed=0)
    fitted(noise(n), context)
    assert bool(context.notes) == said
    assert all(note == f"padim: only {n} training images; PaDiM wants more than 12" for note in context.notes)


def test_channels_are_drawn_without_repetition_from_the_seed():
    drawn = [fitted(noise(2), Context(seed=seed)).channels_.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 12
    assert max(drawn[0]) > 128  # of both layers
    assert fitted(noise(2), channels=1000, strides="8").channels_.tolist() == list(range(128))


@pytest.mark.parametrize(("strides", "side"), [("4,8,16", 16), ("16", 4), (8, 8)])
def test_strides(strides, side):
    method = fitted(noise(3), strides=strides)
    assert method.factor_.shape == (side * side, 12, 12)
    assert method.predict([painted()]).maps.shape == (1, 64, 64)


def test_a_stride_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match=r"no stride 7; it has \[2, 4, 8, 16, 32\]"):
        fitted(noise(2), strides="7,8")


def test_maps_point_at_what_is_painted():
    method = fitted(noise(12), backbone="timm:tf_efficientnet_lite0", channels=40)
    found = method.predict([*noise(3, 5), painted()])
    row, column = np.unravel_index(found.maps[3].argmax(), (64, 64))
    assert (4 <= row < 32, 32 <= column < 60) == (True, True)
    assert found.scores[3] > 2 * found.scores[:3].max()


def test_each_image_is_scored_by_itself():
    method, test = fitted(noise(6)), [*noise(3, 5), painted()]
    together = method.predict(test)
    for i, one in enumerate(test):
        assert method.predict([one]).maps[0] == pytest.approx(together.maps[i], rel=1e-4)


def test_identical_images_give_finite_scores():
    found = fitted([np.full((64, 64, 3), 128, np.uint8)] * 5).predict([painted(), np.full((64, 64, 3), 128, np.uint8)])
    assert np.isfinite(found.scores).all()
    assert found.scores[1] == pytest.approx(0, abs=1e-3)


def test_one_restored_from_its_state_gives_the_same():
    method = fitted(noise(4))
    loaded = parameters.build(registry.method("padim"), "padim", SMALL)
    loaded.restore(method.state(), Context(seed=5))
    ours, theirs = (one.predict([painted(), *noise(2, 5)]) for one in (method, loaded))
    assert np.array_equal(ours.scores, theirs.scores)
    assert np.array_equal(ours.maps, theirs.maps)
