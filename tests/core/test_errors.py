import tracemalloc

import numpy as np
import pytest

from anomalybench.core.errors import DataError, described, shortened


def run_in(module, file, source, **names):
    """What a file defines that is imported under some name."""
    scope = {"__name__": module, **names}
    exec(compile(source, file, "exec"), scope)
    return scope


def error_of(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("no error")


@pytest.fixture
def run():
    """Calls a function as the bench calls a plugin."""
    return run_in("anomalybench.bench.runner", "/x/runner.py", "def run(call):\n    call()\n")["run"]


def test_the_line_of_a_plugin_is_named(run):
    helper = run_in("acme.helper", "/site/acme/helper.py", "def divide():\n\n    return 1 / 0\n")
    plugin = run_in("acme.methods.mine", "/site/acme/mine.py", "def fit():\n    helper()\n", helper=helper["divide"])
    text = described(error_of(lambda: run(plugin["fit"])))
    assert text == "ZeroDivisionError: division by zero (helper.py, line 3)"


def test_the_line_is_the_plugins_and_not_that_of_a_library_it_calls(run):
    plugin = run_in("mine", "/site/mine.py", "def fit():\n    inverse([[0.0]])\n", inverse=np.linalg.inv)
    assert described(error_of(lambda: run(plugin["fit"]))) == "LinAlgError: Singular matrix (mine.py, line 2)"


def test_what_the_bench_raises_itself_and_what_a_user_can_mend_have_no_line(run):
    bench = run_in("anomalybench.bench.runner", "/x/runner.py", "def check():\n    raise ValueError('no scores')\n")
    assert described(error_of(lambda: run(bench["check"]))) == "ValueError: no scores"
    plugin = run_in("mine", "/site/mine.py", "def fit():\n    raise error('no images')\n", error=DataError)
    assert described(error_of(lambda: run(plugin["fit"]))) == "no images"
    assert described(KeyError()) == "KeyError"


def nested():
    value = ["x"]
    for _ in range(40):
        value = [value] * 9
    return value


@pytest.mark.parametrize(
    "value",
    [nested(), "x" * 10**7, b"x" * 10**7, 10**6000, dict.fromkeys(range(10**4), "x" * 1000), np.zeros(10**6)],
    ids=["lists", "text", "bytes", "number", "mapping", "array"],
)
def test_a_large_value_is_cut_before_it_is_written(value):
    tracemalloc.start()
    text = shortened(value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(text) <= 80
    assert peak < 2**20


def test_a_small_value_is_written_as_it_is():
    for value in (None, 3, 0.5, "a'b", [1, {"a": (2,)}], b"x"):
        assert shortened(value) == repr(value)
