"""The autoencoder: golden sizes, its residuals against scipy, patches, and what it learns in a few steps."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from anomalybench.core import parameters, registry
from anomalybench.core.method import Context, Train
from anomalybench.methods.autoencoder import network, ssim_map


def built(**params):
    method = parameters.build(registry.method("autoencoder"), "autoencoder", params)
    method._build(Context(), pretrained=False)
    return method


def pictures(n, side=128, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("side", "latent", "channels", "count"),
    [(128, 100, 3, 1_050_599), (128, 100, 1, 1_048_549), (256, 500, 3, 2_722_231), (256, 100, 3, 1_083_431)],
)
def test_the_network_has_its_golden_number_of_parameters(side, latent, channels, count):
    net = network(side, latent, channels)
    assert sum(p.numel() for p in net.parameters()) == count
    x = torch.rand(1, channels, side, side)
    with torch.no_grad():
        assert net(x).shape == x.shape
        assert {tuple(out.shape) for out in shapes(net, x)} >= {(1, latent, 1, 1), (1, 32, 8, 8), (1, 128, 8, 8)}
        assert 0 <= net(x).min() <= net(x).max() <= 1


def shapes(net, x):
    for layer in net:
        x = layer(x)
        yield x


def ssim(a, b):
    """One channel in double precision, window by window as scipy blurs."""

    def blur(x):
        return ndimage.gaussian_filter(x, 1.5, mode="mirror", radius=5)

    mean_a, mean_b = blur(a), blur(b)
    spread_a, spread_b, shared = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 1e-4) * (2 * shared + 9e-4)
    return top / ((mean_a**2 + mean_b**2 + 1e-4) * (spread_a + spread_b + 9e-4))


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_wang(channels):
    a, b = pictures(2, 40)[:, :channels], pictures(2, 40, seed=1)[:, :channels]
    b = 0.7 * a + 0.3 * b
    expected = [np.mean([ssim(p, q) for p, q in zip(x, y, strict=True)], 0)
                for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]  # fmt: skip
    assert ssim_map(a, b).numpy() == pytest.approx(np.stack(expected), abs=1e-4)
    assert torch.allclose(ssim_map(a, a), torch.ones(2, 40, 40), atol=1e-4)


def test_residuals():
    x, drawn = pictures(2, 32), pictures(2, 32, seed=1)
    l2, similar, both = (built(loss=loss)._residual(x, drawn) for loss in ("l2", "ssim", "ssim+l1"))
    assert torch.allclose(l2, (x - drawn).square().mean(1))
    assert torch.allclose(similar, 1 - ssim_map(x, drawn))
    assert torch.allclose(both, similar + (x - drawn).abs().mean(1))
    assert l2.shape == similar.shape == both.shape == (2, 32, 32)


@pytest.mark.parametrize(("side", "stride"), [(128, 30), (129, 30), (200, 64), (300, 128), (300, 200), (160, 500)])
def test_overlapping_patches_are_averaged_and_cover_every_pixel(side, stride):
    method = built(patch=side, patch_stride=stride, loss="l2")
    method.network_ = torch.nn.Identity()
    method._residual = lambda x, drawn: torch.full((1, 128, 128), 0.25)
    found = method._map(torch.rand(1, 3, side, side))
    assert found.shape == (1, side, side)
    assert torch.allclose(found, torch.tensor(0.25))


def test_patches_that_overlap_have_the_mean_of_their_residuals():
    method = built(patch=160, patch_stride=32)
    values = iter([1.0, 2.0, 3.0, 6.0])
    method._residual = lambda x, drawn: torch.full((1, 128, 128), next(values))
    found = method._map(torch.rand(1, 3, 160, 160))[0]
    assert [found[at] for at in [(0, 0), (0, 159), (159, 0), (159, 159)]] == [1, 2, 3, 6]
    assert (found[0, 80], found[80, 0], found[80, 80]) == (1.5, 2, 3)


def test_score_is_the_mean_of_the_greatest_share_of_the_map():
    images = list(np.random.default_rng(0).integers(0, 256, (2, 50, 60, 3), dtype=np.uint8))
    method = built()
    found = {share: (setattr(method, "top_share", share), method.predict(images))[1] for share in (0.0, 0.01, 1.0)}
    flat = np.sort(found[0.0].maps.reshape(2, -1).astype(float), axis=1)
    assert found[0.0].scores == pytest.approx(flat[:, -1], rel=1e-6)
    assert found[0.01].scores == pytest.approx(flat[:, -164:].mean(1), rel=1e-5)
    assert found[1.0].scores == pytest.approx(flat.mean(1), rel=1e-5)
    assert (found[0.0].scores > found[1.0].scores).all()


def stripes(n, seed=0):
    rng = np.random.default_rng(seed)
    wave = 110 + 60 * np.sin(np.arange(128) / 6)[None, :, None]
    return list((wave + rng.normal(0, 4, (n, 128, 128, 3))).clip(0, 255).astype(np.uint8))


def fitted(images, **params):
    values = {"epochs": 15, "batch_size": 2, "learning_rate": 2e-3, "latent": 20, "loss": "l2", **params}
    method = parameters.build(registry.method("autoencoder"), "autoencoder", values)
    steps = []
    method.fit(Train(images), Context(seed=0, progress=lambda done, total: steps.append((done, total))))
    assert steps[-1] == (method.epochs, method.epochs)
    return method


@pytest.fixture(scope="module")
def trained():
    return fitted(stripes(6))


def painted():
    (picture,) = stripes(1, 9)
    picture[30:60, 70:100] = 255
    return picture


def test_maps_point_at_what_is_painted(trained):
    found = trained.predict([*stripes(3, 5), painted()])
    inside = found.maps[3, 30:60, 70:100].mean()
    outside = np.delete(found.maps[3].ravel(), (np.arange(30, 60)[:, None] * 128 + np.arange(70, 100)).ravel())
    assert inside > 3 * outside.mean()
    assert found.scores[3] > found.scores[:3].max()
    assert found.maps.shape == (4, 128, 128)


def test_training_redraws_better_than_at_the_start(trained):
    torch.manual_seed(0)
    before = built(loss="l2", latent=20).predict(stripes(2, 5)).maps.mean()
    assert trained.predict(stripes(2, 5)).maps.mean() < 0.5 * before


def test_one_restored_from_its_state_gives_the_same(trained):
    loaded = parameters.build(registry.method("autoencoder"), "autoencoder", {"loss": "l2", "latent": 20})
    loaded.restore(trained.state(), Context(seed=3))
    assert np.array_equal(trained.predict([painted()]).maps, loaded.predict([painted()]).maps)


@pytest.mark.parametrize("params", [{"colour": False}, {"patch": 150, "patch_stride": 64}, {"loss": "ssim+l1"}])
def test_every_option_fits_and_predicts(params):
    method = fitted(stripes(2), epochs=1, **params)
    found = method.predict([painted()])
    assert method.network_[0].in_channels == (1 if "colour" in params else 3)
    assert found.maps.shape == (1, 128, 128)
    assert np.isfinite(found.maps).all()
    assert found.maps.min() >= -1e-6


def test_grey_is_the_same_for_pictures_of_equal_mean():
    method = built(colour=False)
    red, blue = np.zeros((2, 40, 40, 3), np.uint8)
    red[:20, :, 0], blue[:20, :, 2] = 200, 200
    maps = method.predict([red, blue]).maps
    assert np.array_equal(maps[0], maps[1])
