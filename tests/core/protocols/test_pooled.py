from hypothesis import given, settings
from hypothesis import strategies as st
from made_items import SEEDS, make, parts_of, quick

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL
from anomalybench.core.protocols.pooled import Pooled


@quick
@given(
    normal=st.integers(1, 40),
    kinds=st.lists(st.integers(3, 9), max_size=8),
    percent=st.tuples(st.integers(1, 98), st.integers(1, 98)).filter(lambda p: sum(p) < 100),
    seed=SEEDS,
)
def test_pooled_puts_every_type_of_three_in_every_part(normal, kinds, percent, seed):
    items = make({GOOD: normal, **{f"type {i}": n for i, n in enumerate(kinds)}})
    split = Pooled(train=percent[0] / 100, calibration=percent[1] / 100).split(items, seed, "")
    for part in parts_of(split):
        missing = {f"type {i}" for i in range(len(kinds))} - {item.defect for item in part}
        assert not missing


def test_pooled_70_15_15_puts_every_type_of_three_in_every_part():
    split = Pooled(train=0.7, calibration=0.15).split(make({GOOD: 20, "a": 3, "b": 3, "c": 3}), 0, "")
    assert [sorted({i.defect for i in part}) for part in parts_of(split)] == [["a", "b", "c", GOOD]] * 3


@quick
@given(normal=st.integers(10, 200), kinds=st.lists(st.integers(5, 40), min_size=1, max_size=6), seed=SEEDS)
def test_pooled_shares_are_right_within_rounding(normal, kinds, seed):
    items = make({GOOD: normal, **{f"type {i}": n for i, n in enumerate(kinds)}})
    split = Pooled().split(items, seed, "")
    for part, share in zip(parts_of(split), (0.6, 0.2, 0.2), strict=True):
        assert abs(sum(i.label == NORMAL for i in part) - share * normal) < 1
        assert abs(sum(i.label == ANOMALOUS for i in part) - share * sum(kinds)) < 1


@quick
@given(kinds=st.integers(5, 40), seed=SEEDS)
def test_pooled_gives_many_types_of_one_image_the_shares_together(kinds, seed):
    split = Pooled().split(make({GOOD: 10, **{f"type {i}": 1 for i in range(kinds)}}), seed, "")
    for part, share in zip(parts_of(split), (0.6, 0.2, 0.2), strict=True):
        assert abs(sum(i.label == ANOMALOUS for i in part) - share * kinds) < 1


@settings(max_examples=30, deadline=None)
@given(kinds=st.lists(st.integers(1, 2), min_size=1, max_size=12), normal=st.integers(3, 30))
def test_pooled_tests_every_type_of_one_or_two_images_under_some_seed(kinds, normal):
    items = make({GOOD: normal, **{f"type {i}": n for i, n in enumerate(kinds)}})
    tested = {item.defect for seed in range(200) for item in Pooled().split(items, seed, "").test}
    assert tested == {GOOD, *(f"type {i}" for i in range(len(kinds)))}
