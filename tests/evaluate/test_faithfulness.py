import numpy as np
import pytest

from anomalybench.evaluate.faithfulness import measure

IMAGE = np.zeros((10, 10, 3), np.uint8)
IMAGE[:2] = 250


def brightness(pictures):
    """Depends on the two upper rows alone."""
    return np.array([picture[:2].astype(float).mean() for picture in pictures])


def test_a_faithful_map_and_its_opposite():
    """All that matters lies in the first fifth of the pixels: 4 of 20 steps up or down, 16 at the end's level."""
    faithful = np.zeros((10, 10))
    faithful[:2] = 1
    good, bad = measure(brightness, IMAGE, faithful), measure(brightness, IMAGE, -faithful)
    assert good.insertion == pytest.approx(0.9)
    assert good.deletion == pytest.approx(0.1)
    assert bad.insertion == pytest.approx(0.1)
    assert bad.deletion == pytest.approx(0.9)


def test_a_random_order_is_near_one_half():
    areas = [measure(brightness, IMAGE, np.random.default_rng(seed).random((10, 10))) for seed in range(30)]
    assert np.mean([a.insertion for a in areas]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([a.deletion for a in areas]) == pytest.approx(0.5, abs=0.05)


def test_a_score_that_does_not_change_has_no_area():
    assert np.isnan(measure(lambda pictures: np.ones(len(pictures)), IMAGE, np.ones((10, 10))).insertion)


def test_the_image_is_left_as_it_was():
    before = IMAGE.copy()
    measure(brightness, IMAGE, np.ones((10, 10)))
    assert np.array_equal(IMAGE, before)
