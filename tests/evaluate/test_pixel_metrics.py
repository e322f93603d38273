import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalybench.evaluate.pixel_metrics import PixelCounts, explain

TRUTH = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool)
SCORES = np.array([[0.9, 0.8, 0.1, 0.2], [0.7, 0.3, 0.2, 0.1], [0.1, 0.1, 0.6, 0.5], [0.1, 0.4, 0.5, 0.95]], np.float16)


def counted(maps, masks):
    counts = PixelCounts()
    for one, mask in zip(maps, masks, strict=True):
        counts.add(one, mask)
    return counts


def plain_aupro(maps, masks, limit):
    """The evaluation code of MVTec in words: one sort over all pixels, ties closed, area with interpolation."""
    weights, values, good, regions = [], [], [], 0
    for one, mask in zip(maps, masks, strict=True):
        labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
        areas = np.bincount(labels.ravel(), minlength=n + 1)
        weights.append(np.where(labels > 0, 1 / areas[labels], 0).ravel())
        values.append(one.astype(float).ravel())
        good.append(~mask.ravel())
        regions += n
    weights, values, good = (np.concatenate(part) for part in (weights, values, good))
    order = np.argsort(-values, kind="stable")
    overlap, fpr = np.cumsum(weights[order]) / regions, np.cumsum(good[order]) / good.sum()
    last = np.r_[np.diff(values[order]) != 0, True]
    x, y = np.r_[0, fpr[last], 1], np.r_[0, np.minimum(overlap[last], 1), 1]
    inside = x <= limit
    end = np.interp(limit, x, y)
    return np.trapezoid(np.r_[y[inside], end], np.r_[x[inside], limit]) / limit


def test_golden_values_of_the_4_by_4_case():
    counts = counted([SCORES], [TRUTH])
    found = counts.metrics()
    assert counts.regions == 2
    assert found.aupro_30 == pytest.approx(0.930556, abs=1e-6)
    assert counts.aupro(1.0) == pytest.approx(0.979167, abs=1e-6)
    assert found.pixel_auroc == pytest.approx(0.979167, abs=1e-6)
    assert found.pixel_ap == pytest.approx(0.95)
    assert found.pixel_f1_max == pytest.approx(0.888889, abs=1e-6)


@pytest.mark.parametrize(("n", "limit", "golden"), [(200, 0.3, 0.151019266), (20, 1.0, 0.502250391)])
def test_golden_values_of_mvtec_s_toy_set(n, limit, golden):
    """The golden numbers are of float64 maps; float16 keeps 2^-11 of a value, which moves them by less than 1e-4."""
    state = np.random.RandomState(1338)
    mask = np.zeros((300, 500), bool)
    mask[:10, :10] = True
    counts, maps = PixelCounts(), []
    for _ in range(n):
        exact = state.random_sample((300, 500))
        counts.add(exact.astype(np.float16), mask)
        if n == 20:
            maps.append(exact)
    assert counts.aupro(limit) == pytest.approx(golden, abs=1e-4)
    if maps:
        assert plain_aupro(maps, [mask] * n, limit) == pytest.approx(golden, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 12, 400]), st.booleans())
def test_all_metrics_equal_the_plain_reference(seed, levels, negative):
    rng = np.random.default_rng(seed)
    maps = [(rng.integers(0, levels, (9, 11)) / 7 - 20 * negative).astype(np.float16) for _ in range(3)]
    masks = [rng.random((9, 11)) < share for share in (0.2, 0.0, 0.5)]
    masks[0][0, 0], masks[0][8, 10] = True, False
    found = counted(maps, masks).metrics()
    y, s = np.concatenate([m.ravel() for m in masks]), np.concatenate([m.astype(float).ravel() for m in maps])
    assert found.pixel_auroc == pytest.approx(roc_auc_score(y, s), abs=1e-9)
    assert found.pixel_ap == pytest.approx(average_precision_score(y, s), abs=1e-9)
    precision, recall, _ = precision_recall_curve(y, s)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert found.pixel_f1_max == pytest.approx(f1.max(), abs=1e-9)
    for limit, value in ((0.3, found.aupro_30), (0.05, found.aupro_05)):
        assert value == pytest.approx(plain_aupro(maps, masks, limit), abs=1e-9)


def test_order_of_images_and_monotone_changes_play_no_part():
    rng = np.random.default_rng(0)
    maps = [rng.normal(0, 3, (20, 20)).astype(np.float16) for _ in range(4)]
    masks = [rng.random((20, 20)) < 0.2 for _ in range(4)]
    first = counted(maps, masks).metrics()
    assert counted(maps[::-1], masks[::-1]).metrics().aupro_30 == pytest.approx(first.aupro_30, abs=1e-12)
    doubled = counted([m * np.float16(2) for m in maps], masks).metrics()
    assert doubled.pixel_auroc == first.pixel_auroc


def test_minus_zero_is_zero():
    mask = np.array([[True, False]])
    assert counted([np.array([[-0.0, 0.0]], np.float16)], [mask]).metrics().pixel_auroc == 0.5


def test_saturated_overlap_is_the_plain_one_where_saturation_is_the_area():
    rng = np.random.default_rng(3)
    maps = [rng.random((15, 15)).astype(np.float16) for _ in range(3)]
    plain, saturated = PixelCounts(), PixelCounts()
    for one in maps:
        mask = ndimage.binary_dilation(rng.random((15, 15)) < 0.03, iterations=2)
        labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
        plain.add(one, mask)
        saturated.add_saturated(one, [(labels == i, float((labels == i).sum())) for i in range(1, n + 1)])
    assert saturated.metrics().aupro_30 == pytest.approx(plain.metrics().aupro_30, abs=1e-12)
    assert saturated.metrics().pixel_auroc == plain.metrics().pixel_auroc


def test_saturated_overlap_is_full_once_the_saturation_is_found():
    region = np.zeros((4, 4), bool)
    region[0] = True
    scores = np.zeros((4, 4), np.float16)
    scores[0, :2] = 1
    full, half = PixelCounts(), PixelCounts()
    full.add_saturated(scores, [(region, 2.0)])
    half.add_saturated(scores, [(region, 4.0)])
    assert full.aupro(0.3) == pytest.approx(1.0)
    assert half.aupro(0.3) == pytest.approx(np.trapezoid([0.5, 0.65], [0, 0.3]) / 0.3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="NaN or infinite"):
        PixelCounts().add(np.full((2, 2), value, np.float16), None)


def test_wrong_shapes_and_types_are_refused():
    with pytest.raises(ValueError, match="float16"):
        PixelCounts().add(np.zeros((2, 2), np.float32), None)
    with pytest.raises(ValueError, match="mask"):
        PixelCounts().add(np.zeros((2, 2), np.float16), np.zeros((3, 2), bool))


def test_constant_map_and_missing_classes():
    flat = np.ones((4, 4), np.float16)
    found = counted([flat], [TRUTH]).metrics()
    assert found.pixel_auroc == 0.5
    assert found.aupro_30 == pytest.approx(0.15)
    assert np.isnan(counted([flat], [np.zeros((4, 4), bool)]).metrics().pixel_auroc)
    assert np.isnan(counted([flat], [np.ones((4, 4), bool)]).metrics().aupro_30)


def test_pointing_game_and_relevance_mass():
    found = explain(SCORES, TRUTH)
    assert found.hit
    assert found.mass == pytest.approx((0.9 + 0.8 + 0.6 + 0.95) / SCORES.astype(float).sum(), rel=1e-3)
    assert not explain(-SCORES, TRUTH).hit
    assert np.isnan(explain(-SCORES, TRUTH).mass)
