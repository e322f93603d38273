"""Statistics of an image: the same as over the whole image at once, in little memory."""

import tracemalloc

import numpy as np
import pytest

from anomalybench.evaluate.statistics import image_statistics


def at_once(image):
    """The definition, over the whole image and in double precision."""
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1]
    sharpness = np.mean(steps) if steps else 0.0
    return {"brightness": grey.mean(), "contrast": grey.std(), "sharpness": sharpness,
            "width": image.shape[1], "height": image.shape[0]}  # fmt: skip


def noise(height, width, seed=0):
    """Noise over a slope from dark to light, so that no two parts of the image are alike."""
    generator = np.random.default_rng(seed)
    slope = np.linspace(0, 150, height)[:, None, None] + np.linspace(0, 50, width)[None, :, None]
    return (slope + generator.integers(0, 56, (height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 7), (7, 1), (2, 2), (300, 200), (512, 512), (513, 512), (700, 1300), (1300, 700), (3, 300_000),
     (300_000, 3), (1, 262_145), (262_145, 1)],
)  # fmt: skip
def test_it_is_the_same_as_over_the_whole_image(size):
    image = noise(*size)
    assert image_statistics(image) == pytest.approx(at_once(image), rel=1e-6, abs=1e-9)


def test_an_image_of_one_grey_level_has_no_contrast():
    found = image_statistics(np.full((900, 800, 3), 60, np.uint8))
    assert found["brightness"] == pytest.approx(60, rel=1e-6)
    assert (found["contrast"], found["sharpness"]) == (pytest.approx(0, abs=1e-4), 0)


def test_steps_between_bands_count():
    image = np.zeros((4, 2**18, 3), np.uint8)
    image[::2] = 255
    assert image_statistics(image)["sharpness"] == pytest.approx(127.5, rel=1e-6)


@pytest.mark.parametrize("size", [(3000, 4000), (2, 6_000_000), (6_000_000, 2)])
def test_it_takes_little_memory(size):
    image = np.zeros((*size, 3), np.uint8)
    tracemalloc.start()
    image_statistics(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6 < image.size
