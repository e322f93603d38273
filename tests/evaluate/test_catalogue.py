import subprocess
import sys

import numpy as np
import pytest

from anomalybench.evaluate import catalogue, uncertainty
from anomalybench.evaluate.catalogue import METRICS, RANKING, SCALED, Metric, names
from anomalybench.evaluate.map_codes import counting_edges, distinct
from anomalybench.evaluate.pixel_resamples import PixelResamples

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1], [20, 15])
SCORES = RNG.normal(LABELS)
WEIGHT = uncertainty.weights([str(i) for i in range(35)])[:50]


def located():
    """Counts of two good and two defective maps."""
    mask = np.zeros((12, 12), bool)
    mask[2:5, 3:7] = True
    maps = RNG.normal(size=(4, 12, 12)).astype(np.float32)
    maps[2:] += mask
    counts = PixelResamples(counting_edges(distinct(maps)))
    for one, defective in zip(maps, (False, False, True, True), strict=True):
        counts.add(one, mask if defective else None)
    return counts


def resampled():
    return catalogue.resample_image(SCORES, LABELS, 0.5, WEIGHT, uncertainty.resample(SCORES, LABELS, 0.5, WEIGHT))


@pytest.fixture
def added(monkeypatch):
    """One more metric of either kind: a function and a row each."""

    def share_above(scores, labels, threshold):
        return float((np.asarray(scores) > threshold).mean())

    def pixel_recall_at_1_percent(curves):
        return np.minimum(curves.recall, np.where(curves.fpr <= 0.01, 1, 0)).max(-1)

    rows = (
        Metric("share_above", "share above", "image", share_above, has_interval=True, shown=frozenset({"page"})),
        Metric("pixel_recall", "pixel recall", "pixel", of_pixels=pixel_recall_at_1_percent, has_interval=True),
    )
    for row in rows:
        monkeypatch.setitem(METRICS, row.name, row)


def test_a_new_metric_is_a_function_and_a_row(added):
    assert names()[-2:] == ["share_above", "pixel_recall"]
    assert names(level="image", shown_in="page")[-1] == "share_above"
    assert catalogue.measure_image(SCORES, LABELS, 0.5)["share_above"] == pytest.approx((SCORES > 0.5).mean())
    found = resampled()["share_above"]
    assert found.shape == (50,)
    assert found.mean() == pytest.approx((SCORES > 0.5).mean(), abs=0.05)
    assert 0 < found.std() < 0.2
    counts = located()
    assert 0 <= catalogue.measure_pixels(counts.total)["pixel_recall"] <= 1
    assert counts.resample(np.ones((3, 4), np.float32))["pixel_recall"].shape == (3,)


def test_every_image_and_pixel_metric_with_a_function_is_measured_and_the_others_are_not():
    measured = catalogue.measure_image(SCORES, LABELS, 0.5)
    assert list(measured) == names(level="image")
    assert all(isinstance(measured[name], int) for name in ("tp", "fp", "tn", "fn"))
    pixels = catalogue.measure_pixels(located().total)
    assert list(pixels) == [name for name in names(level="pixel") if name != "n_without_mask"]
    assert not set(measured) & set(pixels)


def test_exactly_the_metrics_that_have_an_interval_are_resampled():
    found = resampled() | located().resample(np.ones((2, 4), np.float32))
    assert set(found) == set(names(has_interval=True))


def test_resamples_that_are_known_are_taken_as_they_are():
    known = uncertainty.resample(SCORES, LABELS, 0.5, WEIGHT)
    found = catalogue.resample_image(SCORES, LABELS, 0.5, WEIGHT, {"auroc": known["auroc"]})
    assert found["auroc"] is known["auroc"]
    assert np.nanmean(found["balanced_accuracy"]) == pytest.approx(np.nanmean(known["balanced_accuracy"]), abs=0.02)


def test_names_are_filtered_by_all_that_is_asked_in_the_order_of_columns():
    both = names(level="image", has_interval=True)
    assert {"auroc", "balanced_accuracy", "average_precision"} <= set(both)
    assert both == [name for name in names(level="image") if METRICS[name].has_interval]
    order = list(METRICS)
    for wanted in (names(shown_in="summary"), names(pinned=True), names(level="box")):
        assert wanted == sorted(wanted, key=order.index)
        assert wanted
    assert set(names(pinned=True)) | set(names(pinned=False)) == set(METRICS)
    assert set(names(shown_in="limits")) <= set(names(has_interval=True))


def test_rows_say_what_they_are():
    assert RANKING in METRICS
    assert [name for name, row in METRICS.items() if row.oracle] == [
        "oracle_balanced_accuracy", "oracle_threshold", "pixel_f1_max",
    ]  # fmt: skip
    for name in ("fpr", "fnr", "deletion_auc"):
        assert METRICS[name].higher_is_better is False
    assert len({row.label for row in METRICS.values()}) == len(METRICS)


def test_a_metric_that_is_better_when_lower_cannot_be_compared_by_resamples():
    for direction in (False, None):
        with pytest.raises(ValueError, match="higher is better"):
            Metric("missed", "missed", "image", higher_is_better=direction, has_interval=True)


def test_tolerances_are_absolute_or_a_share_of_the_pinned_value():
    assert METRICS["auroc"].tolerance.of(0.5) == 0.02
    assert SCALED.of(-40.0) == pytest.approx(2.0)
    assert SCALED.of(0.0) == 1e-3


def test_the_catalogue_is_imported_quickly():
    """Tables are made without torch, scikit-learn and SciPy's uncertainty."""
    code = (
        "import sys; from anomalybench.evaluate import catalogue; "
        "print([m for m in ('torch', 'sklearn', 'scipy.stats', 'scipy.ndimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
