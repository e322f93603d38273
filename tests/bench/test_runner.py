"""What a method gets to see, and what it must not depend on."""

import numpy as np
import pytest
from PIL import Image

from anomalybench.bench.item_table import ItemTables, Source
from anomalybench.bench.runner import run_job
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import MeasureOptions

HEAD = """
from dataclasses import dataclass
import numpy as np
from anomalybench import Method, Prediction

@dataclass
class Odd(Method):
    learns_from = "normals"

    def fit(self, train, context):
        self.mean_ = np.array([np.mean([image.mean() for image in train.images])])
        assert train.labels is None and train.masks is None
        assert not [name for name in dir(train.images) if "path" in name and not name.startswith("_")]

"""
MEAN = """
    def predict(self, images):
        return Prediction(np.array([image.mean() for image in images]) - self.mean_)
"""
ORDER = """
    def predict(self, images):
        if not hasattr(self, "places"):
            self.places = {}
        for image in images:
            self.places.setdefault(image.tobytes(), len(self.places))
        return Prediction(np.array([float(self.places[image.tobytes()]) for image in images]))
"""
BATCH = """
    def predict(self, images):
        scores = np.array([image.mean() for image in images])
        return Prediction(scores - scores.mean())
"""


@pytest.fixture
def run(make_plugin):
    """Runs a method of this source on a folder of `good` and other images; returns the outcome."""

    def call(source, folder, method="odd", **changes):
        if source:
            make_plugin(methods={method: HEAD + source})
        choices = {"dataset": Choice(name="folder"), "protocol": Choice(name="pooled"), "method": Choice(name=method)}
        job = Job(version=1, category=folder.name, **{**choices, **changes})
        table = ItemTables(Source(folder)).get(job.dataset, job.category)
        return run_job(job, table, MeasureOptions(), "cpu", lambda *_: None)

    return call


@pytest.fixture
def folder(tmp_path):
    """150 good and 150 scratched images that differ by their brightness."""
    return drawn(tmp_path / "parts", numbered)


def numbered(i, bad):
    pixels = np.full((8, 8), 100 + i % 7 + 30 * bad, np.uint8)
    pixels[0, :2] = i % 16, i // 16
    return pixels


def drawn(folder, picture, n=150, kinds=("good", "scratch")):
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(picture(i, kind != "good")).save(folder / kind / f"{i:03d}.png")
    return folder


def metrics(outcome):
    assert outcome.record.status == "ok", outcome.record.error
    return outcome.record.measurements[0].metrics


def test_the_order_of_the_images_tells_nothing_of_their_labels(run, folder):
    """The method scores an image by when it was first shown: sorted by path that would be a ROC AUC of 1."""
    assert metrics(run(ORDER, folder))["auroc"] == pytest.approx(0.5, abs=0.15)


def test_a_method_whose_scores_depend_on_the_batch_fails_with_a_clear_text(run, folder):
    record = run(BATCH, folder).record
    assert record.status == "failed"
    assert "its scores must not depend on the other images" in record.error


def test_scores_are_those_of_their_images_whatever_the_order(run, folder):
    outcome = run(MEAN, folder)
    assert metrics(outcome)["auroc"] == 1
    rows = outcome.scores
    assert (rows["score"][rows["label"] == 1].min()) > rows["score"][rows["label"] == 0].max()
    assert list(rows["split"].unique()) == ["calibration", "test"]


def test_normal_images_alone_are_measured(run, tmp_path):
    folder = drawn(tmp_path / "parts", lambda i, bad: np.full((8, 8), 100 + i % 50, np.uint8), kinds=("good",))
    outcome = run(MEAN, folder)
    measured = outcome.record.measurements[0]
    assert metrics(outcome)["auroc"] is None
    assert measured.rule.startswith("normal_quantile")
    assert (outcome.record.counts.test_normal, outcome.record.counts.test_anomalous) == (30, 0)


def camera(bits):
    """Noisy pictures with a faint scratch, as a camera of so many bits stores them in 16."""

    def picture(i, bad):
        rng = np.random.default_rng([i, bad])
        grey = 0.45 + 0.1 * rng.random((16, 16))
        grey[4:6] += 0.015 * bad
        grey[0, 0] = 0.98
        return (grey * (2**bits - 1)).round().astype(np.uint8 if bits == 8 else np.uint16)

    return picture


@pytest.mark.parametrize("bits", [10, 12])
def test_images_of_a_camera_with_fewer_bits_give_the_numbers_of_eight(run, tmp_path, bits):
    eight = run(MEAN, drawn(tmp_path / "eight", camera(8)))
    deep = run("", drawn(tmp_path / "deep", camera(bits)))
    assert metrics(eight)["auroc"] == pytest.approx(metrics(deep)["auroc"], abs=0.01)
    assert 0.6 < metrics(eight)["auroc"] < 1
    assert (eight.record.bits, deep.record.bits) == (16, bits)
    assert any(f"use {bits} bits in the train part" in note for note in deep.record.notes)
    assert not any("brighter" in note for note in deep.record.notes)


def test_test_images_that_leave_the_range_of_the_train_part_are_said(run, tmp_path):
    folder = drawn(tmp_path / "deep", camera(10), n=40)
    split = run(MEAN, folder).scores
    tested = split["path"][split["split"] == "test"].iloc[0]
    Image.fromarray(np.full((16, 16), 4000, np.uint16)).save(folder / tested)
    record = run("", folder).record
    assert record.bits == 10
    assert any(note.startswith("1 of 32 calibration and test images have brighter pixels") for note in record.notes)
