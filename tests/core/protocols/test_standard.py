from hypothesis import given
from hypothesis import strategies as st
from made_items import SEEDS, make, parts_of, quick, tables

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Item
from anomalybench.core.protocols.standard import Standard


@quick
@given(items=tables(), seed=SEEDS)
def test_standard_leaves_the_own_test_part_alone(items, seed):
    split = Standard().split(items, seed, "")
    assert set(split.test) == {i for i in items if i.split == "test"}
    assert {i.label for i in split.calibration} <= {NORMAL}
    assert {i for i in items if i.split == "train" and i.label == ANOMALOUS} <= set(split.train)


@given(n=st.integers(5, 100), seed=SEEDS)
def test_standard_calibration_is_a_share_of_the_normal_train_images(n, seed):
    items = make({GOOD: n}, split="train") + make({"crack": 5}, split="test")
    assert abs(len(Standard().split(items, seed, "").calibration) - 0.2 * n) < 1


def test_standard_keeps_an_own_calibration_part_and_can_do_without_one():
    own = [Item(f"{part}/{i}", "c", NORMAL, split=part) for part in ("train", "calibration", "test") for i in range(5)]
    assert [{i.split for i in p} for p in parts_of(Standard().split(own, 0, ""))] == [
        {"train"}, {"calibration"}, {"test"},
    ]  # fmt: skip
    without = [item for item in own if item.split != "calibration"]
    assert Standard(calibration=0).split(without, 0, "").calibration == ()
