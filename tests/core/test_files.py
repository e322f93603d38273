import json
import os
import time

import numpy as np
import pytest

from anomalybench.core.errors import StoreError
from anomalybench.core.files import ASIDE, none_for_nan, sweep, sync, write_aside, write_text


def test_a_file_is_there_only_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "a.npz"
    with write_aside(target) as aside:
        assert aside.name.startswith(".")
        assert aside.parent == target.parent
        np.savez(aside, values=np.arange(3))
        assert not target.exists()
    assert np.load(target)["values"].tolist() == [0, 1, 2]
    assert [path.name for path in target.parent.iterdir()] == ["a.npz"]
    assert target.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write():
        with write_aside(target) as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old"}


def test_text_is_written_as_it_is_in_any_characters(tmp_path):
    write_text(tmp_path / "a.csv", "größe\n\udcff\r\n")
    assert (tmp_path / "a.csv").read_bytes() == "größe\n\\udcff\r\n".encode()


def test_a_place_that_cannot_be_written_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/a.txt: cannot be written \(.+\). Name another: --out FILE"):
        write_text(tmp_path / "file" / "a.txt", "text", "--out FILE")


def test_old_leftovers_alone_are_swept(tmp_path):
    for name in (f"{ASIDE}old", f"{ASIDE}young", ".other", "seen"):
        (tmp_path / name).write_text("")
    (tmp_path / f"{ASIDE}folder").mkdir()
    (tmp_path / f"{ASIDE}folder" / "file").write_text("")
    for path in tmp_path.iterdir():
        if not path.name.endswith("young"):
            os.utime(path, (time.time() - 90_000,) * 2)
    write_text(tmp_path / "a", "")
    assert {path.name for path in tmp_path.iterdir()} == {f"{ASIDE}young", ".other", "seen", "a"}
    sweep(tmp_path, "*")
    sweep(tmp_path / "not there")
    assert {path.name for path in tmp_path.iterdir()} == {f"{ASIDE}young", "seen", "a"}


def test_files_and_folders_are_synced(tmp_path):
    (tmp_path / "a").write_text("")
    sync(tmp_path / "a")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "b")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (np.float32("-inf"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.array(np.nan), None),
        ({"a": (1, np.inf, "nan"), "b": {"c": [np.float64("nan"), True, None]}},
         {"a": [1, None, "nan"], "b": {"c": [None, True, None]}}),
    ],
)  # fmt: skip
def test_what_json_cannot_hold_becomes_none(value, plain):
    found = none_for_nan(value)
    assert found == plain
    assert json.loads(json.dumps(found, allow_nan=False)) == plain
