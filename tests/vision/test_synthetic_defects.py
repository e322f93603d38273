import numpy as np
import pytest

from anomalybench.vision import synthetic_defects as confetti

GREY = np.full((240, 240, 3), 120, np.uint8)


@pytest.mark.parametrize("paint", [confetti.official, confetti.mathworks])
def test_same_seed_same_confetti(paint):
    first, again = (paint(GREY, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, paint(GREY, np.random.default_rng(6)))
    assert first.dtype == np.uint8
    assert (GREY == 120).all()


@pytest.mark.parametrize("paint", [confetti.official, confetti.mathworks])
def test_every_image_is_changed_in_part(paint):
    rng = np.random.default_rng(0)
    shares = [(paint(GREY, rng) != GREY).any(-1).mean() for _ in range(60)]
    assert min(shares) > 0
    assert np.median(shares) < 0.5


def test_official_number_of_squares():
    """Expected numbers given at least one: 1.606 coloured and 1.385 dark ones on 240 px."""
    rng = np.random.default_rng(0)
    for rate, expected in ((1.8e-5, 1.606), (1.2e-5, 1.385)):
        counts = []
        for _ in range(2000):
            sides = []
            confetti._squares((240, 240), rate, lambda side, sides=sides: sides.append(side) or (1, 1, 1), rng)
            assert all(8 <= side <= 54 for side in sides)
            counts.append(len(sides))
        assert np.mean(counts) == pytest.approx(expected, rel=0.05)


def test_official_confetti_darkens_and_brightens_where_dark_does_not_show():
    rng = np.random.default_rng(0)
    assert all((confetti.official(GREY, rng) <= GREY).all() for _ in range(20))
    black = np.zeros_like(GREY)
    assert all((confetti.official(black, rng) > black).any() for _ in range(20))


def test_official_squares_are_blurred():
    painted = confetti.official(np.full((240, 240, 3), 255, np.uint8), np.random.default_rng(1)).astype(int)
    steps = np.abs(np.diff(painted[..., 0], axis=1)).max()
    assert 5 < steps < 64
