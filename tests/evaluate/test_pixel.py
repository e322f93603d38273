import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalybench.evaluate.catalogue import measure_pixels
from anomalybench.evaluate.map_codes import counting_edges, decode, distinct, encode
from anomalybench.evaluate.pixel import PixelCounts, aupro, explain, resize_map

TRUTH = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool)
SCORES = np.array([[0.9, 0.8, 0.1, 0.2], [0.7, 0.3, 0.2, 0.1], [0.1, 0.1, 0.6, 0.5], [0.1, 0.4, 0.5, 0.95]], np.float32)


def counted(maps, masks):
    counts = PixelCounts(counting_edges(distinct(np.stack(maps))))
    for one, mask in zip(maps, masks, strict=True):
        counts.add(one, mask)
    return counts


def measured(maps, masks):
    return measure_pixels(counted(maps, masks))


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
    found = measure_pixels(counts)
    assert counts.regions == 2
    assert found["aupro_30"] == pytest.approx(0.930556, abs=1e-6)
    assert aupro(counts.curves(), 1.0) == pytest.approx(0.979167, abs=1e-6)
    assert found["pixel_auroc"] == pytest.approx(0.979167, abs=1e-6)
    assert found["pixel_ap"] == pytest.approx(0.95)
    assert found["pixel_f1_max"] == pytest.approx(0.888889, abs=1e-6)


@pytest.mark.parametrize(("n", "limit", "golden"), [(200, 0.3, 0.151019266), (20, 1.0, 0.502250391)])
def test_golden_values_of_mvtec_s_toy_set(n, limit, golden):
    """The golden numbers are of float64 maps; counting in 65,536 bins moves them by less than 1e-4."""
    state = np.random.RandomState(1338)
    mask = np.zeros((300, 500), bool)
    mask[:10, :10] = True
    counts, maps = PixelCounts(np.linspace(0, 1, 65536, dtype=np.float32)), []
    for _ in range(n):
        exact = state.random_sample((300, 500))
        counts.add(exact.astype(np.float32), mask)
        if n == 20:
            maps.append(exact)
    assert aupro(counts.curves(), limit) == pytest.approx(golden, abs=1e-4)
    if maps:
        assert plain_aupro(maps, [mask] * n, limit) == pytest.approx(golden, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 12, 400]), st.booleans())
def test_all_metrics_equal_the_plain_reference(seed, levels, negative):
    rng = np.random.default_rng(seed)
    maps = [(rng.integers(0, levels, (9, 11)) / 7 - 20 * negative).astype(np.float32) for _ in range(3)]
    masks = [rng.random((9, 11)) < share for share in (0.2, 0.0, 0.5)]
    masks[0][0, 0], masks[0][8, 10] = True, False
    found = measured(maps, masks)
    y, s = np.concatenate([m.ravel() for m in masks]), np.concatenate([m.astype(float).ravel() for m in maps])
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(y, s), abs=1e-9)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(y, s), abs=1e-9)
    precision, recall, _ = precision_recall_curve(y, s)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert found["pixel_f1_max"] == pytest.approx(f1.max(), abs=1e-9)
    for limit, value in ((0.3, found["aupro_30"]), (0.05, found["aupro_05"])):
        assert value == pytest.approx(plain_aupro(maps, masks, limit), abs=1e-9)


def test_order_of_images_and_monotone_changes_play_no_part():
    rng = np.random.default_rng(0)
    maps = [rng.normal(0, 3, (20, 20)).astype(np.float32) for _ in range(4)]
    masks = [rng.random((20, 20)) < 0.2 for _ in range(4)]
    first = measured(maps, masks)
    assert measured(maps[::-1], masks[::-1])["aupro_30"] == pytest.approx(first["aupro_30"], abs=1e-12)
    doubled = measured([m * np.float32(2) for m in maps], masks)
    assert doubled["pixel_auroc"] == first["pixel_auroc"]


def test_minus_zero_is_zero():
    mask = np.array([[True, False]])
    assert measured([np.array([[-0.0, 0.0]], np.float32)], [mask])["pixel_auroc"] == 0.5


def test_saturated_overlap_is_the_plain_one_where_saturation_is_the_area():
    rng = np.random.default_rng(3)
    maps = [rng.random((15, 15)).astype(np.float32) for _ in range(3)]
    edges = counting_edges(distinct(np.stack(maps)))
    plain, saturated = PixelCounts(edges), PixelCounts(edges)
    for one in maps:
        mask = ndimage.binary_dilation(rng.random((15, 15)) < 0.03, iterations=2)
        labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
        plain.add(one, mask)
        saturated.add_saturated(one, [(labels == i, float((labels == i).sum())) for i in range(1, n + 1)])
    found, expected = measure_pixels(saturated), measure_pixels(plain)
    assert found["aupro_30"] == pytest.approx(expected["aupro_30"], abs=1e-12)
    assert found["pixel_auroc"] == expected["pixel_auroc"]


def test_saturated_overlap_is_full_once_the_saturation_is_found():
    region = np.zeros((4, 4), bool)
    region[0] = True
    scores = np.zeros((4, 4), np.float32)
    scores[0, :2] = 1
    full, half = (PixelCounts(counting_edges(distinct(scores))) for _ in range(2))
    full.add_saturated(scores, [(region, 2.0)])
    half.add_saturated(scores, [(region, 4.0)])
    assert aupro(full.curves(), 0.3) == pytest.approx(1.0)
    assert aupro(half.curves(), 0.3) == pytest.approx(np.trapezoid([0.5, 0.65], [0, 0.3]) / 0.3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="NaN or infinite"):
        PixelCounts(np.zeros(1, np.float32)).add(np.full((2, 2), value, np.float32), None)
    with pytest.raises(ValueError, match="NaN or infinite"):
        encode(np.array([[[0.0, value, 1.0]]], np.float32))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="mask"):
        PixelCounts(np.zeros(1, np.float32)).add(np.zeros((2, 2), np.float32), np.zeros((3, 2), bool))


def test_constant_map_and_missing_classes():
    flat = np.ones((4, 4), np.float32)
    found = measured([flat], [TRUTH])
    assert found["pixel_auroc"] == 0.5
    assert found["aupro_30"] == pytest.approx(0.15)
    assert np.isnan(measured([flat], [np.zeros((4, 4), bool)])["pixel_auroc"])
    assert np.isnan(measured([flat], [np.ones((4, 4), bool)])["aupro_30"])


def test_pointing_game_and_relevance_mass():
    found = explain(SCORES, TRUTH)
    assert found.hit
    assert found.mass == pytest.approx((0.9 + 0.8 + 0.6 + 0.95) / SCORES.astype(float).sum(), rel=1e-3)
    assert not explain(-SCORES, TRUTH).hit
    assert np.isnan(explain(-SCORES, TRUTH).mass)


SIDE = 64
SCALES = {
    "plain": lambda z: z,
    "saturated probability": lambda z: 1 - 1e-6 * np.exp(-z),
    "offset of 1,000": lambda z: 1000 + z / 50,
    "heavy upper tail": lambda z: np.exp(3 * z),
}


def hard_case(scale, n=24, size=SIDE, coarse=SIDE):
    """Smooth maps with small defects (.5 % of the pixels) on scales where float16 loses the order."""
    rng = np.random.default_rng(5)
    maps, masks = [], []
    for i in range(n):
        mask = np.zeros((size, size), bool)
        side, start = size // 10, size // 4 + i
        mask[start : start + side, start : start + side] = i % 2
        step = size // coarse
        bright = 2.2 * mask[::step, ::step]
        maps.append(SCALES[scale](rng.normal(bright, 1, (coarse, coarse))).astype(np.float32))
        masks.append(mask)
    return maps, masks


@pytest.mark.parametrize(
    ("scale", "coarse"), [(scale, SIDE) for scale in SCALES] + [(scale, SIDE // 2) for scale in list(SCALES)[:3]]
)
def test_metrics_equal_those_of_float32_where_float16_loses_the_order(scale, coarse):
    maps, masks = hard_case(scale, coarse=coarse)
    stored = decode(encode(np.stack(maps)))
    counts = PixelCounts(counting_edges(distinct(stored)))
    for one, mask in zip(stored, masks, strict=True):
        counts.add(resize_map(one, mask.shape), mask)
    found = measure_pixels(counts)
    full = [resize_map(one, mask.shape) for one, mask in zip(maps, masks, strict=True)]
    y, s = np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in full])
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(y, s), abs=1e-4)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(y, s), abs=1e-4)
    for limit, name in ((0.3, "aupro_30"), (0.05, "aupro_05")):
        assert found[name] == pytest.approx(plain_aupro(full, masks, limit), abs=1e-4)


def test_tied_pixels_stay_tied_when_a_map_is_enlarged():
    flat = np.full((3, 3), 0.1, np.float32)
    assert np.unique(resize_map(flat, (17, 23))).tolist() == [np.float32(0.1)]
