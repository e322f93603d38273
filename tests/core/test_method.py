"""Images in memory, supervision, and scores that depend on the batch."""

from dataclasses import dataclass

import numpy as np
import pytest

from anomalybench.core.method import ImageArrays, Method, Prediction, batch_dependence

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


@dataclass
class Mean(Method):
    """Mean grey value, brought to a scale that may depend on the batch."""

    learns_from = "nothing"
    offset: float = 0.0
    scale: str = "none"

    def fit(self, train, context): ...

    def predict(self, images):
        means = np.array([image.mean() for image in images])
        if self.scale == "batch":
            means = means / means.max()
        if self.scale == "rounding":
            means = means * (1 + 1e-7 * len(images))
        return Prediction(means + self.offset)


def test_images_in_memory_are_sliced_and_walked_through():
    images = ImageArrays(PICTURES)
    assert (len(images), len(images[1:4]), images.hashes) == (6, 3, None)
    assert np.array_equal(images[1:4][0], PICTURES[1])
    assert np.array_equal(np.stack(list(images)), PICTURES)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("scale", ["none", "rounding"])
def test_rounding_is_no_dependence(scale, offset):
    assert batch_dependence(Mean(offset, scale), ImageArrays(PICTURES)) == 0


def test_scores_that_depend_on_the_batch_are_found():
    """Alone every image scores 1, as only the brightest does in the batch: the darkest moves by the whole range."""
    assert batch_dependence(Mean(scale="batch"), ImageArrays(PICTURES)) == pytest.approx(1)


def test_scores_of_a_larger_batch_can_be_given():
    method = Mean(scale="batch")
    scores = method.predict(ImageArrays(PICTURES)).scores[:1]
    assert batch_dependence(method, ImageArrays(PICTURES[:1])) == 0
    assert batch_dependence(method, ImageArrays(PICTURES[:1]), scores) == pytest.approx(1)


def test_the_same_score_for_all_does_not_divide_by_zero():
    assert batch_dependence(Mean(), ImageArrays(np.zeros((3, 2, 2, 3), np.uint8))) == 0


def test_supervision_is_the_class_s_unless_it_is_overridden():
    @dataclass
    class Either(Mean):
        labelled: bool = False

        def supervision(self):
            return "labels" if self.labelled else "normals"

    assert (Mean().supervision(), Either().supervision(), Either(labelled=True).supervision()) == (
        "nothing", "normals", "labels",
    )  # fmt: skip
