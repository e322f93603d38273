"""Fitted states, the large arrays of which jobs share."""

import numpy as np
import pytest

from anomalybench.bench.store import state
from anomalybench.core.errors import StoreError

STATE = {"mean_": np.arange(3.0), "weights": np.random.default_rng(0).normal(size=(100, 200)).astype(np.float32)}


def write(folder, name):
    state.write(folder / name, folder / "states", STATE)
    return folder / name


def assert_read(folder, file):
    found = state.read(file, folder / "states")
    assert found.keys() == STATE.keys()
    assert all(np.array_equal(found[name], STATE[name]) for name in STATE)


def test_jobs_share_a_large_array(tmp_path):
    files = [write(tmp_path, name) for name in ("a.npz", "b.npz")]
    for file in files:
        assert_read(tmp_path, file)
        assert file.stat().st_size < STATE["weights"].nbytes
    assert len(list((tmp_path / "states").iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_array_is_noticed_and_mended_by_another_fit(tmp_path, damage):
    file = write(tmp_path, "a.npz")
    (one,) = (tmp_path / "states").iterdir()
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    one.write_bytes(content[:100] if damage == "cut" else content)
    if damage == "gone":
        one.unlink()
    with pytest.raises(StoreError, match="--force"):
        state.read(file, tmp_path / "states")
    assert_read(tmp_path, write(tmp_path, "a.npz"))
