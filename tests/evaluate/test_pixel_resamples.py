import numpy as np
import pytest

from anomalybench.evaluate.catalogue import measure_pixels
from anomalybench.evaluate.map_codes import counting_edges, distinct
from anomalybench.evaluate.pixel import PixelCounts
from anomalybench.evaluate.pixel_resamples import PixelResamples

NAMES = ["pixel_auroc", "pixel_ap", "aupro_30", "aupro_05"]


def images(n_good=6, n_bad=6, side=48, seed=0, levels=None):
    """Noise with brighter defects of several sizes; in `levels` steps, so that values are shared, if that is given."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n_good + n_bad):
        mask = np.zeros((side, side), bool)
        if i < n_bad:
            mask[3 + i : 9 + 2 * i, 5 : 9 + i] = True
            mask[-6:-2, -(3 + i) : -1] = i % 2 == 0
        one = rng.normal(1.5 * mask + rng.normal(0, 0.4), 1)
        if levels:
            one = np.round(one * levels) / levels
        found.append((one.astype(np.float32), mask if mask.any() else None))
    return found


def edges(pictures):
    return counting_edges(distinct(np.stack([one for one, _ in pictures])))


def counted(pictures, times=None):
    counts = PixelCounts(edges(pictures))
    for (one, mask), n in zip(pictures, times if times is not None else np.ones(len(pictures), int), strict=True):
        for _ in range(n):
            counts.add(one, mask)
    return measure_pixels(counts)


def fed(pictures):
    resamples = PixelResamples(edges(pictures))
    for one, mask in pictures:
        resamples.add(one, mask)
    return resamples


def balanced(rng, n_bad, n_good):
    """Integer weights that draw as many of each class as there are, so that nothing is left to scale."""
    return np.concatenate([rng.multinomial(n, np.full(n, 1 / n)) for n in (n_bad, n_good)])


@pytest.mark.parametrize("levels", [None, 4])
def test_resamples_are_the_metrics_of_images_repeated_as_often(levels):
    pictures, rng = images(levels=levels), np.random.default_rng(1)
    times = np.stack([balanced(rng, 6, 6) for _ in range(6)])
    found = fed(pictures).resample(times.astype(np.float32))
    for b, row in enumerate(times):
        exact = counted(pictures, row)
        for name in NAMES:
            assert found[name][b] == pytest.approx(exact[name], abs=2e-3), name
    assert np.ptp(found["pixel_auroc"]) > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_images_that_all_count_once_give_the_exact_metrics(seed):
    pictures = images(3, 5, 64, seed=seed)
    resamples = fed(pictures)
    found, exact = resamples.resample(np.ones((1, 8), np.float32)), counted(pictures)
    assert measure_pixels(resamples.total) == exact
    for name in NAMES:
        assert found[name][0] == pytest.approx(exact[name], abs=2e-3), name


def test_each_class_keeps_its_share_however_many_were_drawn():
    """Defective images drawn twice as often as good ones say the same as all drawn once."""
    resamples = fed(images())
    found = resamples.resample(np.array([[2] * 6 + [1] * 6, [1] * 12, [3] * 6 + [7] * 6], np.float32))
    for name in NAMES:
        assert found[name] == pytest.approx(found[name][0], abs=1e-9), name


def test_resamples_without_one_of_the_classes_are_nan_and_no_others():
    rng = np.random.default_rng(2)
    weight = rng.poisson(0.4, (60, 6)).astype(np.float32)
    found = fed(images(3, 3)).resample(weight)
    lacking = (weight[:, :3].sum(1) == 0) | (weight[:, 3:].sum(1) == 0)
    assert 0 < lacking.sum() < 60
    for name in NAMES:
        assert np.array_equal(np.isnan(found[name]), lacking), name


def test_only_defective_images_still_have_good_pixels():
    pictures = images(0, 5)
    found = fed(pictures).resample(np.ones((1, 5), np.float32))
    assert found["pixel_auroc"][0] == pytest.approx(counted(pictures)["pixel_auroc"], abs=2e-3)


def test_there_is_nothing_to_resample_without_regions_or_good_pixels():
    one, whole = np.ones((4, 4), np.float32), np.ones((4, 4), bool)
    assert fed([(one, None)]).resample(np.ones((3, 1), np.float32)) == {}
    assert fed([(one, whole)]).resample(np.ones((3, 1), np.float32)) == {}


def test_the_number_of_resamples_plays_no_part():
    """They are measured in chunks."""
    rng = np.random.default_rng(3)
    weight = rng.poisson(1, (603, 12)).astype(np.float32)
    resamples = fed(images())
    whole, tail = resamples.resample(weight), resamples.resample(weight[-7:])
    for name in NAMES:
        assert len(whole[name]) == 603
        assert whole[name][-7:] == pytest.approx(tail[name], nan_ok=True, abs=1e-12)


def test_one_map_value_and_a_perfect_map():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 2:5] = True
    flat = fed([(np.ones((10, 10), np.float32), mask)] * 2).resample(np.ones((1, 2), np.float32))
    assert flat["pixel_auroc"][0] == pytest.approx(0.5)
    assert flat["pixel_ap"][0] == pytest.approx(0.09)
    assert flat["aupro_30"][0] == pytest.approx(0.15)
    perfect = fed([(mask.astype(np.float32), mask)] * 2).resample(np.ones((1, 2), np.float32))
    assert [perfect[name][0] for name in NAMES] == pytest.approx([1, 1, 1, 1])
