import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalybench.bench import localise
from anomalybench.core.dataset import Item
from anomalybench.core.method import ImageArrays, Prediction
from anomalybench.evaluate.catalogue import METRICS, names
from anomalybench.evaluate.uncertainty import weights

SIDE = 32
MASK = np.zeros((SIDE, SIDE), bool)
MASK[8:14, 10:20] = True


@pytest.fixture
def items(tmp_path):
    """Two good images and two with the same defect."""
    Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    found = []
    for i in range(4):
        picture = np.full((SIDE, SIDE, 3), 100 + i, np.uint8)
        picture[MASK] += np.uint8(100 * (i >= 2))
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        kind = ("crack", "mask.png") if i >= 2 else ("good", None)
        found.append(Item(f"{i}.png", "bolt", int(i >= 2), *kind))
    return found


def noise(seed=0, gap=1.5):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(4, SIDE, SIDE)) + gap * MASK * np.array([0, 0, 1, 1])[:, None, None]).astype(np.float32)


def measured(root, items, maps, called=(False, False, True, True)):
    return localise.measure(root, items, maps, np.array(called), weights([item.path for item in items]))


def test_metrics_are_those_of_the_catalogue_by_name(tmp_path, items):
    found = measured(tmp_path, items, noise())
    assert set(found.metrics) <= set(METRICS)
    assert {*names(level="pixel"), *names(level="box")} <= set(found.metrics)
    assert set(found.resamples) == set(names(level="pixel", has_interval=True))


@pytest.mark.parametrize("scale", [lambda z: 1 - 1e-6 * np.exp(-z), lambda z: 1000 + z / 50])
def test_scores_that_float16_cannot_hold_keep_their_metrics(tmp_path, items, scale):
    maps = scale(noise().astype(np.float64)).astype(np.float32)
    truth = np.stack([MASK & (item.label == 1) for item in items]).ravel()
    found = measured(tmp_path, items, maps).metrics
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, maps.ravel()), abs=1e-4)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(truth, maps.ravel()), abs=1e-4)
    assert roc_auc_score(truth, maps.astype(np.float16).ravel()) < found["pixel_auroc"] - 0.001


def test_boxes_on_good_images_that_are_called_anomalous_are_false(tmp_path, items):
    maps = np.zeros((4, SIDE, SIDE), np.float32)
    maps[:2, 20:24, 20:24] = 1
    maps[2:, MASK] = 1
    right = measured(tmp_path, items, maps).metrics
    assert right["box_precision_0.5"] == right["box_recall_0.5"] == right["box_iou"] == 1
    alarmed = measured(tmp_path, items, maps, (True, True, True, True)).metrics
    assert alarmed["box_precision_0.5"] == alarmed["box_precision_0.3"] == 0.5
    assert alarmed["box_recall_0.5"] == alarmed["box_iou"] == 1


class Brightest:
    """Scores images by their brightest pixel; `sign` -1 finds dark ones anomalous instead."""

    def __init__(self, sign=1):
        self.sign = sign

    def predict(self, images):
        return Prediction(np.array([self.sign * float(image.max()) for image in images]))


def faithful(root, items, normal, sign=1, most=2):
    maps = np.repeat(MASK[None].astype(np.float32), 4, axis=0)
    return localise.faithful(Brightest(sign), root, items, maps, most, ImageArrays(normal), 16)


def test_areas_are_measured_against_the_most_similar_normal_train_image(tmp_path, items):
    """Its size may differ from the image's."""
    alike, other = np.full((16, 24, 3), 105, np.uint8), np.full((SIDE, SIDE, 3), 255, np.uint8)
    found = faithful(tmp_path, items, [other, alike])
    assert found["replacement_lowers"] == 1
    assert found["insertion_auc"] > 0.9
    assert found["deletion_auc"] < 0.2


def test_areas_are_empty_where_the_replacement_does_not_lower_the_score(tmp_path, items):
    found = faithful(tmp_path, items, [np.full((SIDE, SIDE, 3), 105, np.uint8)], sign=-1)
    assert found == {"insertion_auc": None, "deletion_auc": None, "replacement_lowers": 0}


def test_images_that_are_lowered_are_measured_and_the_share_is_said(tmp_path, items):
    dark = np.zeros((SIDE, SIDE, 3), np.uint8)
    Image.fromarray(dark).save(tmp_path / "3.png")
    found = faithful(tmp_path, items, [np.full((SIDE, SIDE, 3), 105, np.uint8)])
    assert found["replacement_lowers"] == 0.5
    assert found["insertion_auc"] > 0.9


def test_nothing_is_measured_without_normal_images_or_where_none_are_asked_for(tmp_path, items):
    assert faithful(tmp_path, items, []) == {}
    assert faithful(tmp_path, items, [np.zeros((4, 4, 3), np.uint8)], most=0) == {}
