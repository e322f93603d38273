import numpy as np
import pytest

from anomalybench.evaluate.faithfulness import measure, nearest

IMAGE = np.zeros((10, 10, 3), np.uint8)
IMAGE[:2] = 250
NORMAL = np.full((10, 10, 3), 20, np.uint8)


def brightness(pictures):
    """Depends on the two upper rows alone."""
    return np.array([picture[:2].astype(float).mean() for picture in pictures])


def test_a_faithful_map_and_its_opposite():
    """All that matters lies in the first fifth of the pixels: 4 of 20 steps up or down, 16 at the end's level."""
    faithful = np.zeros((10, 10))
    faithful[:2] = 1
    good, bad = (measure(brightness, IMAGE, order, NORMAL) for order in (faithful, -faithful))
    assert good.insertion == pytest.approx(0.9)
    assert good.deletion == pytest.approx(0.1)
    assert bad.insertion == pytest.approx(0.1)
    assert bad.deletion == pytest.approx(0.9)


def test_a_random_order_is_near_one_half():
    areas = [measure(brightness, IMAGE, np.random.default_rng(seed).random((10, 10)), NORMAL) for seed in range(30)]
    assert np.mean([a.insertion for a in areas]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([a.deletion for a in areas]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("score", [lambda pictures: np.ones(len(pictures)), lambda pictures: -brightness(pictures)])
def test_a_replacement_that_does_not_lower_the_score_has_no_areas(score):
    found = measure(score, IMAGE, np.ones((10, 10)), NORMAL)
    assert not found.lowers
    assert np.isnan(found.insertion)
    assert np.isnan(found.deletion)
    assert measure(brightness, IMAGE, np.ones((10, 10)), NORMAL).lowers


def test_the_nearest_picture_is_the_one_with_the_least_difference():
    others = [NORMAL, np.where(IMAGE > 0, IMAGE - 30, 10).astype(np.uint8), np.full_like(IMAGE, 255)]
    assert nearest(IMAGE, others) == 1


def test_the_image_is_left_as_it_was():
    before, normal = IMAGE.copy(), NORMAL.copy()
    measure(brightness, IMAGE, np.ones((10, 10)), NORMAL)
    assert np.array_equal(IMAGE, before)
    assert np.array_equal(NORMAL, normal)
