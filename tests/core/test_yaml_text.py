import contextlib
import datetime
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalybench.core.errors import UsageError
from anomalybench.core.yaml_text import MAX_CHARACTERS, MAX_DEPTH, read_yaml

resource = pytest.importorskip("resource")
BOMB = "a: &a [x, x]\n" + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi"))


def test_plain_values_are_read():
    text = "name: kfold\nk: 3\nshare: 0.5\ntags: [a, 'b', null, true]\nday: 2024-02-29\n"
    day = datetime.date(2024, 2, 29)
    assert read_yaml(text, "f") == {"name": "kfold", "k": 3, "share": 0.5, "tags": ["a", "b", None, True], "day": day}
    assert read_yaml("", "f") is None
    assert read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, r"line 2: aliases \('\*a'\) are not read. Write the value out"),
        ("[" * 20_000, "line 1: more than 20 lists or mappings inside each other"),
        ("{a: " * 20_000, "line 1: more than 20 lists or mappings inside each other"),
        ("x: [\n" + "- " * 20_000, "more than 20|not plain YAML"),
        ("a" * (MAX_CHARACTERS + 1), "100,001 characters of YAML; 100,000 are the most"),
        ("a: 1\nb: 0x" + "f" * 50_000, "line 2: a value of 50,002 characters. Write a long text in quotes"),
        ("!!python/object/apply:os.getcwd []", "line 1: tags.* are not read"),
        ("!!timestamp abc", "line 1: tags.* are not read"),
        ("2024-99-99", "not plain YAML: month must be in"),
        ("a: [1", "not plain YAML"),
        ("{[1]: 2}", "not plain YAML.*unhashable"),
        ("a\n---\nb", "not plain YAML"),
        ("\0", "not plain YAML"),
    ],
    ids=range(13),
)
def test_what_is_not_plain_is_refused(text, reason):
    with pytest.raises(UsageError, match=f"suite.yaml.*{reason}"):
        read_yaml(text, "suite.yaml")


@given(st.text(alphabet="[]{}:,-?&*!|>'\"%@#~ \nabc019.xb_+=<eE", max_size=60))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(UsageError):
        read_yaml(text, "f")


def test_a_bomb_costs_no_memory():
    code = "import sys\nfrom anomalybench.core.yaml_text import read_yaml\nread_yaml(sys.stdin.read(), 'f')"
    limit = 2**30

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", code],
        input=BOMB, capture_output=True, text=True, check=False, preexec_fn=limited, timeout=60,
    )  # fmt: skip
    assert "UsageError: f, line 2" in done.stderr
