import numpy as np
import pytest

from anomalybench.core import parameters, registry
from anomalybench.core.method import Context, Train
from anomalybench.evaluate.image import auroc
from anomalybench.methods._neighbours import nearest
from anomalybench.vision import backbones

FLOORS = ["random", "brightness", "pixel_knn", "deep_knn"]


def fitted(name, images, seed=0, **params):
    method = parameters.build(registry.method(name), name, params)
    method.fit(Train(images), Context(seed=seed))
    return method


def noise(n, low=90, high=110, shape=(32, 32), seed=0):
    return list(np.random.default_rng(seed).integers(low, high, (n, *shape, 3), dtype=np.uint8))


def test_random_scores_say_nothing():
    images = noise(1200, shape=(4, 4)) + noise(1200, 200, 220, shape=(4, 4))
    scores = fitted("random", []).predict(images).scores
    assert auroc(scores, np.repeat([0, 1], 1200)) == pytest.approx(0.5, abs=0.04)
    assert scores.mean() == pytest.approx(0.5, abs=0.02)
    assert np.ptp(scores) > 0.99
    assert len(set(scores)) == 2400


def test_random_scores_depend_on_the_image_and_the_seed_and_on_nothing_else():
    images = noise(9)
    method = fitted("random", [])
    whole = method.predict(images).scores
    assert np.array_equal(np.concatenate([method.predict(images[:4]).scores, method.predict(images[4:]).scores]), whole)
    assert np.array_equal(method.predict(images[::-1]).scores, whole[::-1])
    assert np.array_equal(fitted("random", noise(3, seed=5)).predict(images).scores, whole)
    assert not np.isclose(fitted("random", [], seed=1).predict(images).scores, whole).any()


def test_brightness_finds_a_brighter_a_darker_a_flatter_and_a_rougher_image():
    method = fitted("brightness", noise(20))
    usual = method.predict(noise(10, seed=1)).scores
    flat = np.full((32, 32, 3), 100, np.uint8)
    checked = np.where(np.indices((32, 32)).sum(0)[..., None] % 2, 90, 109).astype(np.uint8).repeat(3, 2)
    odd = method.predict([*noise(1, 110, 130, seed=2), *noise(1, 70, 90, seed=2), flat, checked]).scores
    assert odd.min() > 2 * usual.max()


def test_brightness_sees_the_same_pixels_in_another_order():
    ramp = np.linspace(50, 200, 32 * 32).reshape(32, 32, 1).repeat(3, 2)
    smooth = [np.uint8(ramp + i % 3) for i in range(9)]
    mixed = np.random.default_rng(0).permutation(smooth[0].reshape(-1, 3)).reshape(32, 32, 3)
    usual, odd = fitted("brightness", smooth).predict([smooth[0], mixed]).scores
    assert odd > 10 * usual


def test_brightness_without_correlations_by_hand():
    """Flat images of 10 and 30: mean and quantiles are 20 -+ 10, the other statistics 0, in each of 3 channels."""
    flat = lambda value: np.full((5, 5, 3), value, np.uint8)  # noqa: E731
    method = fitted("brightness", [flat(10), flat(30)], shrinkage=1.0)
    assert method.predict([flat(20)]).scores[0] == pytest.approx(0, abs=1e-9)
    assert method.predict([flat(50)]).scores[0] == pytest.approx(np.sqrt(9 * 30**2 / 100.01))


def test_pixel_knn_by_hand():
    """Grey pictures of one pixel: squared distances are summed over the three channels."""
    grey = lambda value: np.full((1, 1, 3), value, np.uint8)  # noqa: E731
    memory, shown = [grey(0), grey(51), grey(255)], [grey(102), grey(0)]
    one = fitted("pixel_knn", memory, size=1).predict(shown)
    assert one.scores == pytest.approx([np.sqrt(3) * 0.2, 0], abs=1e-6)
    assert one.maps == pytest.approx(np.array([[[0.04]], [[0.0]]]), abs=1e-6)
    two = fitted("pixel_knn", memory, size=1, k=2).predict(shown)
    assert two.scores == pytest.approx([np.sqrt(3) * (0.2 + 0.4) / 2, np.sqrt(3) * 0.1], abs=1e-6)
    many = fitted("pixel_knn", memory, size=1, k=99).predict(shown)
    assert many.scores == pytest.approx(np.sqrt(3) * np.array([0.2 + 0.4 + 0.6, 0.2 + 1.0]) / 3, abs=1e-6)


def test_the_map_of_pixel_knn_shows_the_defect():
    images = noise(8)
    defective = noise(1, seed=1)[0]
    defective[8:16, 20:28] = 255
    method = fitted("pixel_knn", images, size=32)
    found = method.predict([*noise(1, seed=2), defective])
    assert found.scores[1] > 2 * found.scores[0]
    bright = found.maps[1] > 0.1
    assert bright[8:16, 20:28].all()
    assert bright.sum() == 64


@pytest.mark.parametrize(("k", "used"), [(1, 1), (2, 2), (5, 5), (50, 6)])
def test_deep_knn_is_the_brute_force_distance_of_pooled_features(k, used):
    import torch

    name = "random@timm:resnet18"
    memory, shown = noise(6, 0, 255, shape=(64, 64)), noise(4, 0, 255, shape=(64, 64), seed=1)
    torch.manual_seed(0)
    method = fitted("deep_knn", memory, backbone=name, size=64, k=k)
    backbone = method.backbone_
    assert isinstance(backbone, backbones.Backbone)

    def features(images):
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        with torch.no_grad():
            return backbone.layers.eval()(backbone.normalise(batch)).mean((2, 3)).double().numpy()

    distances = np.linalg.norm(features(shown)[:, None] - features(memory)[None], axis=2)
    expected = np.sort(distances, axis=1)[:, :used].mean(1)
    assert method.predict(shown).scores == pytest.approx(expected, rel=1e-3)  # features are float16


@pytest.mark.parametrize("n", [1, 3, 600])
def test_nearest_agrees_with_brute_force(n):
    rng = np.random.default_rng(n)
    queries, memory = rng.normal(1000, 1, (n, 7)).astype(np.float32), rng.normal(1000, 1, (20, 7)).astype(np.float32)
    distances, places = nearest(queries, memory, 4)
    plain = np.linalg.norm(queries[:, None].astype(float) - memory[None], axis=2)
    assert distances == pytest.approx(np.sort(plain, axis=1)[:, :4], abs=1e-6)
    assert np.array_equal(places, np.argsort(plain, axis=1)[:, :4])
    assert nearest(queries, memory, 99)[0].shape == (n, 20)


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize("images", [
    noise(1), [np.full((20, 30, 3), 128, np.uint8)] * 4, noise(3, shape=(1, 1)), noise(3, shape=(1, 9)),
], ids=["one image", "grey images", "one pixel", "one row"])  # fmt: skip
def test_poor_training_sets_give_finite_scores(name, images):
    method = fitted(name, images, **({"backbone": "random@timm:resnet18", "size": 32} if name == "deep_knn" else {}))
    found = method.predict([*images, *noise(2, 0, 255, seed=9)])
    assert np.isfinite(found.scores).all()
    assert found.scores.shape == (len(images) + 2,)
    if name != "random":
        assert found.scores[: len(images)].max() < found.scores[len(images) :].min()
