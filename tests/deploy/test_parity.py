import hashlib
from dataclasses import replace

import made_models
import numpy as np
import pytest

from anomalybench.core.errors import StoreError
from anomalybench.core.method import ImageArrays, Prediction
from anomalybench.deploy.fitted import restored
from anomalybench.deploy.model import Model
from anomalybench.deploy.parity import Evidence, Parity, Scale, compare, expected, prove
from anomalybench.evaluate import map_codes


def prediction(scores, value=0.0):
    return Prediction(np.array(scores, np.float32), np.full((len(scores), 2, 2), value, np.float32))


def known(scores, value=0.0):
    return expected(prediction(scores).scores, prediction(scores, value).maps)


def test_differences_are_shares_of_the_ranges_of_the_job():
    found = compare(known([1, 2, 3], 5), prediction([1, 2.5, 3], 7), Scale(2.0, 8.0, 10, 10))
    assert (found.images, found.scores, found.maps, found.decisions) == (3, 0.25, 0.25, 0)


def test_decisions_are_compared_each_with_its_own_threshold():
    """The record's threshold is an image's own score; the file's lies a little above it."""
    recorded, exported = known([1, 2, 3]), prediction([1, 2.00001, 3])
    assert compare(recorded, exported, Scale(1, 1, 2.0, 2.001)).decisions == 0
    assert compare(recorded, exported, Scale(1, 1, 2.0, 2.0)).decisions == 1
    assert compare(recorded, exported, Scale(1, 1, 0.5, 2.5)).decisions == 2


def test_methods_without_maps():
    found = compare(expected(np.ones(3), None), Prediction(np.ones(3)), Scale(1, 1, 0, 0))
    assert found.maps is None
    assert found.decisions == 0


def test_what_lies_within_the_rounding_of_a_record_is_no_difference():
    maps = np.random.default_rng(0).normal(size=(3, 300, 300)).astype(np.float32) ** 3
    coded = map_codes.encode(maps)
    assert np.abs(map_codes.decode(coded) - maps).max() > 0.1
    scores, scale = np.zeros(3), Scale(1, 1, 0, 0)
    assert compare(expected(scores, coded), Prediction(scores, maps), scale).maps == 0
    worse = maps.copy()
    worse[1, 20, 30] = 100 + maps.max()
    found = compare(expected(scores, coded), Prediction(scores, worse), scale)
    assert found.maps == pytest.approx(100 + maps.max() - maps[1, 20, 30], rel=0.01)


@pytest.mark.parametrize("broken", [
    prediction([1, np.nan, 3]), prediction([1, 2, 3], np.inf), prediction([1, 2]), Prediction(np.ones(3, np.float32)),
    Prediction(np.ones(3, np.float32), np.ones((3, 4, 4), np.float32)),
])  # fmt: skip
def test_what_is_no_number_or_of_another_shape_is_no_copy(broken):
    with pytest.raises(StoreError, match="no faithful copy"):
        compare(known([1, 2, 3]), broken, Scale(1, 1, 0, 0))


@pytest.fixture
def fitted():
    card, method = restored(made_models.bundle(), "here")
    return Model(card, method.predict, "torch")


@pytest.fixture
def evidence(fitted):
    images = [*made_models.normal(12), *made_models.defective(8)]
    images = ImageArrays(images)
    found = fitted.predict(images)
    return Evidence(images, 15, found.scores, found.maps)


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "model.onnx"
    made.write_bytes(b"content")
    return made


def skewed(model, change):
    """The model as an engine would give it that computes something else."""

    def predict(images):
        found = model.predict(images)
        return replace(found, scores=np.array([change(i, s) for i, s in zip(images, found.scores, strict=True)]))

    return Model(model.card, predict, "onnx")


def test_a_faithful_copy(fitted, evidence, file):
    counted = []
    found = prove(skewed(fitted, lambda image, score: score), fitted, evidence, [file], counted.append)
    assert found.job.model_dump() == {"images": 20, "scores": 0.0, "maps": 0.0, "decisions": 0}
    assert {kind: one.images for kind, one in found.derived.items()} == {
        "as they are": 8, "resized": 8, "grey": 8, "near-black": 8,
    }  # fmt: skip
    assert found.files == {"model.onnx": hashlib.sha256(b"content").hexdigest()}
    assert found.record == fitted.card.record
    assert counted == [20]
    assert Parity.model_validate_json(found.model_dump_json()) == found


def test_a_copy_that_judges_one_image_otherwise(fitted, evidence, file):
    worst = float(evidence.scores.max())
    found = prove(skewed(fitted, lambda _, s: 0.0 if s == worst else s), fitted, evidence, [file], lambda n: None)
    assert found.job.decisions == 1
    assert found.job.scores == pytest.approx(worst / float(np.ptp(evidence.scores)))


@pytest.mark.parametrize(("kind", "is_one"), [
    ("resized", lambda image: image.shape != (24, 24, 3)),
    ("grey", lambda image: (image[..., :1] == image).all() and image.max() > 32),
    ("near-black", lambda image: image.max() < 8),
])  # fmt: skip
def test_a_copy_that_is_wrong_only_for_one_kind_of_image(fitted, evidence, file, kind, is_one):
    found = prove(skewed(fitted, lambda i, s: s + is_one(i)), fitted, evidence, [file], lambda n: None)
    assert found.derived[kind].scores > 0.1
    assert found.derived["as they are"].scores == 0
    assert found.job.scores == 0
