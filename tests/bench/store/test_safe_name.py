import hashlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from anomalybench.bench.store import safe_name


def assert_safe(name):
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.startswith(".")
    assert len(name.encode()) <= 255


@given(a=st.text(max_size=150), b=st.text(max_size=150))
@example("a/b", "a%2Fb")
@example("", "%")
@example(".a", "%2Ea")
@example("~", "%7E")
@example("x" * 300, "x" * 301)
@example("é" * 50, "é" * 49 + "e")
def test_safe_names_are_safe_and_distinct(a, b):
    assume(a != b)
    for name in (a, b):
        assert_safe(safe_name(name))
        assert safe_name(name) == safe_name(name)
    assert safe_name(a) != safe_name(b)


def test_the_short_form_of_a_long_name_is_no_other_name():
    """Whatever the hash begins with, no short name is spelt like a shortened one."""
    for i in range(2000):
        long = "x" * 200 + str(i)
        digest = hashlib.sha256(long.encode()).hexdigest()[:12]
        short = "x" * 80 + bytes.fromhex(digest[:2]).decode("latin-1") + digest[2:]
        assert safe_name(long) != safe_name(short), short


@pytest.mark.parametrize("name", ["bottle", "metal_nut", "Teil 3 (links)", "a-b.c", "01+02"])
def test_plain_names_stay_readable(name):
    assert safe_name(name) == name
