from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from made_items import SEEDS, make, quick, tables

from anomalybench.core.dataset import ANOMALOUS, GOOD, NORMAL
from anomalybench.core.protocols.kfold import KFold


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
