import itertools
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomalybench.core import parameters
from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL, Item
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.split import PROTOCOLS, Few, KFold, Pooled, Split, Standard, UnseenDefect

CUTS = {
    "pooled": Pooled(),
    "kfold": KFold(k=3),
    "standard": Standard(),
    "few": Few(k=1, c=1),
    "unseen_defect": UnseenDefect(),
}
SEEDS = st.integers(0, 10**6)
quick = settings(max_examples=60, deadline=None)


def make(counts, group=None, split=None):
    return [
        Item(f"{defect}/{i:03d}", "c", NORMAL if defect == GOOD else ANOMALOUS, defect, group=group, split=split)
        for defect, n in counts.items()
        for i in range(n)
    ]


@st.composite
def tables(draw):
    """Enough ungrouped items for every protocol, and others in groups that may mix defect types."""
    kinds = ["crack", GOOD, "spot"]
    items = make({GOOD: draw(st.integers(8, 30)), "crack": draw(st.integers(3, 9)), "spot": draw(st.integers(3, 9))})
    for i, (kind, group) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 5)), max_size=20))
    ):
        items.append(
            Item(f"{kind}/g{i:02d}", "c", NORMAL if kind == GOOD else ANOMALOUS, kind, group=f"object {group}")
        )
    own = draw(st.lists(st.sampled_from(["train", "test"]), min_size=len(items), max_size=len(items)))
    by_group = dict(zip((i.group for i in items), own, strict=True))
    parts = [part if item.group is None else by_group[item.group] for item, part in zip(items, own, strict=True)]
    assume({"train", "test"} <= {part for item, part in zip(items, parts, strict=True) if item.label == NORMAL})
    return [Item(**{**vars(item), "split": part}) for item, part in zip(items, parts, strict=True)]


def parts_of(split):
    return split.train, split.calibration, split.test


def every_split(name, items, seed):
    return {fold: CUTS[name].split(items, seed, fold) for fold in CUTS[name].folds(items)}


def test_every_protocol_is_covered():
    assert set(CUTS) == set(PROTOCOLS)


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
def test_every_item_lands_in_one_part(name, items, seed):
    for fold, split in every_split(name, items, seed).items():
        placed = [item for part in parts_of(split) for item in part]
        assert len(placed) == len(set(placed))
        left_out = set(items) - set(placed)
        assert set(placed) <= set(items)
        if name == "unseen_defect":
            with_held = {i.group for i in items if i.group and i.defect == fold}
            expected = {i for i in items if i.group in with_held and i.defect not in (fold, GOOD)}
            assert left_out == expected
        else:
            assert not left_out


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


@quick
@given(items=tables(), seed=SEEDS, k=st.integers(2, 8))
def test_kfold_tests_every_image_once(items, seed, k):
    cut = KFold(k=k)
    splits = [cut.split(items, seed, fold) for fold in cut.folds(items)]
    assert len(splits) == k
    assert Counter(i for split in splits for i in split.test) == Counter(items)
    assert all(split.train and split.calibration for split in splits)


@quick
@given(n=st.integers(10, 60), bad=st.integers(0, 30), k=st.integers(2, 10), seed=SEEDS)
def test_kfold_folds_and_shares_are_even(n, bad, k, seed):
    cut = KFold(k=k, calibration=0.25)
    splits = [cut.split(make({GOOD: n, "crack": bad}), seed, fold) for fold in cut.folds([])]
    for label, total in ((NORMAL, n), (ANOMALOUS, bad)):
        tested = [sum(i.label == label for i in split.test) for split in splits]
        assert max(tested) - min(tested) <= 1
        for split, out in zip(splits, tested, strict=True):
            counted = sum(i.label == label for i in split.calibration)
            assert abs(counted - 0.25 * (total - out)) <= 1


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


@quick
@given(k=st.integers(1, 3), c=st.integers(0, 15), train=st.integers(1, 70), calibration=st.integers(0, 30), seed=SEEDS)
def test_few_takes_exactly_what_it_is_told(k, c, train, calibration, seed):
    items = make({GOOD: 149, "chip": 43, "dirt": 138})
    split = Few(k=k, c=c, train=train, calibration=calibration).split(items, seed, "")
    counted = [Counter(i.defect for i in part) for part in parts_of(split)]
    assert counted[0] == Counter({GOOD: train, "chip": k, "dirt": k})
    assert counted[1] == Counter({GOOD: calibration, "chip": c, "dirt": c})
    assert counted[2] == Counter({GOOD: 149 - train - calibration, "chip": 43 - k - c, "dirt": 138 - k - c})


def test_few_reads_numbers_below_one_as_shares():
    split = Few(k=1, c=2, train=0.5, calibration=0.3).split(make({GOOD: 20, "chip": 9}), 0, "")
    assert [sum(i.label == NORMAL for i in part) for part in parts_of(split)] == [10, 6, 4]


@quick
@given(items=tables(), seed=SEEDS)
def test_unseen_defect_is_seen_in_the_test_part_only(items, seed):
    cut = UnseenDefect()
    assert cut.folds(items) == ["crack", "spot"]
    for fold in cut.folds(items):
        split = cut.split(items, seed, fold)
        assert fold not in {i.defect for i in (*split.train, *split.calibration)}
        assert {i.defect for i in split.test} <= {GOOD, fold}
        assert {i for i in items if i.defect == fold} <= set(split.test)
        assert all(GOOD in {i.defect for i in part} for part in parts_of(split))


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


def test_an_unknown_defect_type_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="'crack'"):
        UnseenDefect().split(make({GOOD: 9, "crack": 4, "hole": 4}), 0, "crak")


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
        parameters.build(PROTOCOLS[name], name, values)
