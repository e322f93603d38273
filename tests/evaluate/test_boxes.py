import numpy as np
import pytest

from anomalybench.evaluate.boxes import Box, components, fit, iou, mask_boxes, single

SPOTS = np.zeros((10, 12), np.float16)
SPOTS[0:3, 0:2] = 1.0
SPOTS[6:9, 7:12] = 0.9
SPOTS[5, 1] = 0.8


def test_one_box_around_everything():
    assert single(SPOTS) == [Box(0, 0, 9, 12)]
    assert single(SPOTS, threshold=0.95) == [Box(0, 0, 3, 2)]


def test_one_box_per_component():
    assert components(SPOTS) == [Box(0, 0, 3, 2), Box(6, 7, 9, 12)]
    assert components(SPOTS, min_area=7) == [Box(6, 7, 9, 12)]
    assert components(SPOTS, threshold=0.7) == [Box(0, 0, 3, 2), Box(5, 1, 6, 2), Box(6, 7, 9, 12)]


def test_the_threshold_itself_is_not_marked():
    values = np.array([[0.0, 0.5, 1.0]])
    assert single(values, threshold=0.5) == [Box(0, 2, 1, 3)]


def test_column_and_row_0_count():
    corner = np.zeros((5, 5))
    corner[0, 0] = 1
    assert single(corner) == [Box(0, 0, 1, 1)]


def test_diagonal_neighbours_are_one_component():
    assert mask_boxes(np.eye(3, dtype=bool)) == [Box(0, 0, 3, 3)]


def test_a_constant_map_has_no_box():
    for value in (0.0, 1.0, -5.0):
        assert single(np.full((4, 4), value)) == components(np.full((4, 4), value)) == []


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        single(np.array([[np.nan, 1.0]]))


def test_intersection_over_union():
    assert iou(Box(0, 0, 4, 4), Box(0, 0, 4, 4)) == 1
    assert iou(Box(0, 0, 4, 4), Box(0, 2, 4, 6)) == pytest.approx(8 / 24)
    assert iou(Box(0, 0, 4, 4), Box(4, 4, 5, 5)) == 0


def test_fit_counts_each_box_once():
    true = [Box(0, 0, 4, 4), Box(10, 10, 14, 14)]
    twice = [Box(0, 0, 4, 4), Box(0, 0, 4, 3)]
    found = fit([(twice, true), ([], [Box(0, 0, 2, 2)])])
    assert found.iou == pytest.approx(1 / 3)
    assert found.precision == {0.3: 0.5, 0.5: 0.5}
    assert found.recall == {0.3: 1 / 3, 0.5: 1 / 3}


def test_boxes_on_good_images_lower_the_precision_and_nothing_else():
    defective = ([Box(0, 0, 4, 4)], [Box(0, 0, 4, 4)])
    alone, with_false = fit([defective]), fit([defective, ([Box(0, 0, 2, 2)], []), ([], [])])
    assert alone.precision == {0.3: 1, 0.5: 1}
    assert with_false.precision == {0.3: 0.5, 0.5: 0.5}
    assert (with_false.iou, with_false.recall) == (alone.iou, alone.recall)


def test_fit_without_boxes():
    assert np.isnan(fit([]).iou)
    assert fit([([], [Box(0, 0, 1, 1)])]).iou == 0
