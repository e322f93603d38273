import pytest
from hypothesis import given
from made_items import SEEDS, make, parts_of, quick, tables

from anomalybench.core.dataset import GOOD
from anomalybench.core.errors import UsageError
from anomalybench.core.protocols.unseen_defect import UnseenDefect


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


def test_an_unknown_defect_type_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="'crack'"):
        UnseenDefect().split(make({GOOD: 9, "crack": 4, "hole": 4}), 0, "crak")


@quick
@given(items=tables(), seed=SEEDS)
def test_only_other_types_in_the_groups_of_the_unseen_one_are_left_out(items, seed):
    cut = UnseenDefect()
    for fold in cut.folds(items):
        placed = {item for part in parts_of(cut.split(items, seed, fold)) for item in part}
        kept_apart = {i.group for i in items if i.group and i.defect == fold}
        assert set(items) - placed == {i for i in items if i.group in kept_apart and i.defect not in (fold, GOOD)}


@quick
@given(items=tables(), seed=SEEDS)
def test_all_folds_test_the_same_normal_images_that_share_no_group_with_a_defect(items, seed):
    cut = UnseenDefect()
    mixed = {i.group for i in items if i.group and i.defect != GOOD}
    tested = [
        {i for i in cut.split(items, seed, fold).test if i.defect == GOOD and i.group not in mixed}
        for fold in cut.folds(items)
    ]
    assert tested[0]
    assert all(one == tested[0] for one in tested)
