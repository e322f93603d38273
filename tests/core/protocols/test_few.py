from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from made_items import SEEDS, make, parts_of, quick

from anomalybench.core.dataset import GOOD, NORMAL
from anomalybench.core.protocols.few import Few


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
