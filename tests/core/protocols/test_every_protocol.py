import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import SEEDS, make, parts_of, quick, tables

from anomalybench.core import parameters, registry
from anomalybench.core.dataset import GOOD, NORMAL, Item
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.protocol import Split
from anomalybench.core.protocols.few import Few
from anomalybench.core.protocols.kfold import KFold
from anomalybench.core.protocols.standard import Standard

PROTOCOLS = list(registry.plugins("protocols"))


def every_split(name, items, seed):
    cut = registry.protocol(name)()
    return {fold: cut.split(items, seed, fold) for fold in cut.folds(items)}


@pytest.mark.parametrize("name", PROTOCOLS)
@quick
@given(items=tables(), seed=SEEDS)
def test_parts_share_no_path_and_no_group(name, items, seed):
    for split in every_split(name, items, seed).values():
        for a, b in itertools.combinations(parts_of(split), 2):
            assert not {i.path for i in a} & {i.path for i in b}
            assert not {i.group for i in a if i.group} & {i.group for i in b if i.group}


@pytest.mark.parametrize("name", PROTOCOLS)
@quick
@given(items=tables(), seed=SEEDS)
def test_no_item_lands_in_two_parts(name, items, seed):
    for split in every_split(name, items, seed).values():
        placed = [item for part in parts_of(split) for item in part]
        assert len(placed) == len(set(placed))
        assert set(placed) <= set(items)


@pytest.mark.parametrize("name", ["pooled", "kfold", "standard", "few"])
@quick
@given(items=tables(), seed=SEEDS)
def test_no_item_is_left_out(name, items, seed):
    for split in every_split(name, items, seed).values():
        assert {item for part in parts_of(split) for item in part} == set(items)


@pytest.mark.parametrize("name", PROTOCOLS)
@quick
@given(items=tables())
def test_folds_have_different_names_and_need_items_only_where_they_say_so(name, items):
    cut = registry.protocol(name)()
    assert len(set(cut.folds(items))) == len(cut.folds(items)) > 0
    assert cut.folds_need_items or cut.folds([]) == cut.folds(items)


@pytest.mark.parametrize("name", PROTOCOLS)
@quick
@given(items=tables(), seed=SEEDS, data=st.data())
def test_the_order_of_the_items_plays_no_part(name, items, seed, data):
    shuffled = data.draw(st.permutations(items))
    assert every_split(name, items, seed) == every_split(name, shuffled, seed)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_seed_decides(name):
    items = make({GOOD: 20, "crack": 8, "spot": 8})
    items = [Item(**{**vars(i), "split": "train" if n % 2 else "test"}) for n, i in enumerate(items)]
    splits = [every_split(name, items, seed) for seed in range(6)]
    assert splits[3] == every_split(name, items, 3)
    assert all(a != b for a, b in itertools.combinations(splits, 2))


def test_a_split_that_shares_a_path_or_a_group_cannot_be_built():
    one, two = Item("1", "c", NORMAL, group="g"), Item("2", "c", NORMAL, group="g")
    with pytest.raises(ValueError, match="share"):
        Split((one,), (), (one,))
    with pytest.raises(ValueError, match="share"):
        Split((), (one,), (two,))
    assert Split((one, two), (), ()).train == (one, two)


@pytest.mark.parametrize(
    ("cut", "items", "reason"),
    [
        (KFold(k=5), make({GOOD: 4, "crack": 20}), "at least 5 normal"),
        (Standard(), make({GOOD: 9, "crack": 9}), "own train and test"),
        (Standard(), make({GOOD: 9}, split="train"), "own train and test"),
        (Standard(), make({GOOD: 9}, "g", "train") + make({"crack": 9}, "g", "test"), "leaks"),
        (Few(k=2, c=2), make({GOOD: 20, "crack": 4}), "leaves none"),
        (Few(train=70, calibration=30), make({GOOD: 100, "crack": 9}), "leaves none"),
    ],
)
def test_data_that_cannot_be_cut_are_refused(cut, items, reason):
    with pytest.raises(DataError, match=reason):
        cut.split(items, 0, cut.folds(items)[0])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pooled", {"train": 0.8, "calibration": 0.2}),
        ("pooled", {"train": 0.0}),
        ("pooled", {"calibration": 1.0}),
        ("pooled", {"train": float("nan")}),
        ("kfold", {"k": 1}),
        ("standard", {"calibration": 1.0}),
        ("few", {"k": 0}),
        ("few", {"train": 0.9}),
        ("few", {"train": -1}),
        ("few", {"calibration": 1.5}),
        ("unseen_defect", {"train": 0.5, "calibration": 0.5}),
    ],
)
def test_shares_that_leave_nothing_are_refused(name, values):
    with pytest.raises(UsageError, match=name):
        parameters.build(registry.protocol(name), name, values)
