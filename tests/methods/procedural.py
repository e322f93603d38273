"""Pictures for tests of methods: noise, and the same with something painted on it."""

import numpy as np


def noise(n, seed=0):
    return list(np.random.default_rng(seed).integers(100, 140, (n, 64, 64, 3), dtype=np.uint8))


def painted(seed=9):
    (picture,) = noise(1, seed)
    picture[8:28, 36:56] = (250, 10, 10)
    return picture


def pictures(n, side=64, square=None):
    """The same for every call; `square` is the first row and column of 12 x 12 bright pixels in each."""
    found = np.random.default_rng(0).integers(100, 125, (n, side, side, 3), dtype=np.uint8)
    if square:
        row, column = square
        found[:, row : row + 12, column : column + 12] = 250
    return list(found)
