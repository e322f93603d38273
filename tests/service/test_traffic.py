import pytest

from anomalybench.core.errors import UsageError
from anomalybench.service.traffic import pick, position, read_splits


def test_splits_are_read():
    found = read_splits(["pill=current:90,previous:10", "bolt = 3 : 33.5 %, 12:66.5"])
    assert str(found["pill"]) == "current:90,previous:10"
    assert str(found["bolt"]) == "3:33.5,12:66.5"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["pill"], "NAME=VERSION:PERCENT"),
        (["=current:100"], "NAME=VERSION:PERCENT"),
        (["pill="], "VERSION:PERCENT"),
        (["pill=current:90"], "add up to 90, not to 100"),
        (["pill=current:90,previous:20"], "add up to 110"),
        (["pill=current:50,current:50"], "named twice"),
        (["pill=newest:100"], "'newest:100'"),
        (["pill=0:100"], "'0:100'"),
        (["pill=-1:100"], "'-1:100'"),
        (["pill=1:1e2"], "'1:1e2'"),
        (["pill=1:nan,2:100"], "'1:nan'"),
        (["pill=1:100", "pill=2:100"], "has a split already"),
    ],
)
def test_other_texts_are_refused(texts, words):
    with pytest.raises(UsageError, match="--split") as caught:
        read_splits(texts)
    assert words in str(caught.value)


def test_shares_are_kept_to():
    shares = [(1, 90.0), (2, 10.0)]
    found = [pick(shares, position("pill", f"part {i}")) for i in range(10_000)]
    assert found.count(2) == pytest.approx(1000, abs=120)  # four standard deviations


def test_models_split_independently():
    halves = [(1, 50.0), (2, 50.0)]
    same = [
        pick(halves, position("pill", f"part {i}")) == pick(halves, position("bolt", f"part {i}")) for i in range(4000)
    ]
    assert sum(same) == pytest.approx(2000, abs=130)


def test_a_place_is_always_the_same():
    assert position("pill", "part 41") == pytest.approx(position("pill", "part 41"), abs=0)
    assert 0 <= position("pill", "\udc80 and others that UTF-8 lacks") < 100


def test_the_end_of_the_traffic_goes_to_a_version_with_a_share():
    assert pick([(1, 100.0), (2, 0.0)], 99.999999) == 1
    assert pick([(1, 33.3), (2, 66.7)], 100.0) == 2
