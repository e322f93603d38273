import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import made_models
import numpy as np
import pytest

from anomalybench.core import files
from anomalybench.core.errors import StoreError, UsageError
from anomalybench.deploy import bundle as bundles
from anomalybench.deploy.promoted import Promoted

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def promoted(tmp_path):
    return Promoted(tmp_path)


@pytest.fixture(scope="module")
def model():
    return made_models.bundle()


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_promoted_model_is_whole_by_itself(promoted, model, tmp_path):
    done = promoted.promote(model, "bolt")
    assert (done.name, done.version, done.folder, done.removed) == ("bolt", 1, tmp_path / "models" / "bolt" / "1", ())
    away = tmp_path / "elsewhere"
    done.folder.rename(away)
    again = bundles.read(away)
    assert again.card.decision == model.card.decision
    assert np.array_equal(again.state["memory_"], model.state["memory_"])


def test_the_last_promoted_is_current(promoted, model):
    for version in (1, 2, 3):
        assert promoted.promote(model, "bolt").version == version
        assert promoted.current("bolt") == version
    assert promoted.versions("bolt") == [1, 2, 3]
    assert promoted.folder("bolt").name == "3"
    assert promoted.folder("bolt", 2).name == "2"
    assert promoted.names() == ["bolt"]


def test_models_of_several_names(promoted, model):
    for name in ("nut", "bolt", "_v.1-x"):
        promoted.promote(model, name)
    assert promoted.names() == ["_v.1-x", "bolt", "nut"]


def test_nothing_promoted_yet(promoted):
    assert promoted.names() == []
    with pytest.raises(UsageError, match=r"holds none.*anomalybench models promote JOB --as bolt"):
        promoted.folder("bolt")


def test_an_unknown_name_offers_the_nearest(promoted, model):
    promoted.promote(model, "bolts")
    with pytest.raises(UsageError, match="Did you mean 'bolts'"):
        promoted.current("bolt")


def test_an_unknown_version_lists_what_there_is(promoted, model):
    promoted.promote(model, "bolt")
    with pytest.raises(UsageError, match=r"no version 7. There is 1\."):
        promoted.folder("bolt", 7)
    with pytest.raises(UsageError, match="no version 7"):
        promoted.rollback("bolt", 7)


@pytest.mark.parametrize("name", ["", ".", "..", ".bolt", "a/b", "../x", "a\\b", "a b", "bolt\n", "é", "-x", "a" * 61])
def test_names_that_no_folder_should_have(promoted, model, tmp_path, name):
    for call in (lambda: promoted.promote(model, name), lambda: promoted.folder(name), lambda: promoted.rollback(name)):
        with pytest.raises(UsageError, match="cannot be a model's name"):
            call()
    assert not (tmp_path / "models").exists()


def test_old_versions_are_removed(promoted, model, tmp_path):
    removed = [promoted.promote(model, "bolt", keep=2).removed for _ in range(5)]
    assert removed == [(), (), (1,), (2,), (3,)]
    assert visible(tmp_path / "models" / "bolt") == ["4", "5", "current.json"]


def test_what_a_rollback_would_return_to_stays(promoted, model):
    for _ in range(3):
        promoted.promote(model, "bolt")
    promoted.rollback("bolt", 1)
    assert promoted.promote(model, "bolt", keep=1).removed == (2, 3)
    assert promoted.versions("bolt") == [1, 4]
    assert promoted.rollback("bolt") == 1


def test_keep_must_leave_something(promoted, model):
    with pytest.raises(UsageError, match="keep 0"):
        promoted.promote(model, "bolt", keep=0)


def test_numbers_are_never_used_again(promoted, model):
    for _ in range(3):
        promoted.promote(model, "bolt", keep=1)
    assert promoted.versions("bolt") == [2, 3]
    promoted.rollback("bolt")
    assert promoted.promote(model, "bolt", keep=1).version == 4
    assert promoted.versions("bolt") == [2, 4]


def test_rollbacks_in_a_row_go_further_back(promoted, model):
    for _ in range(3):
        promoted.promote(model, "bolt")
    assert [promoted.rollback("bolt"), promoted.rollback("bolt")] == [2, 1]
    with pytest.raises(UsageError, match=r"no version was current before 1.*--to N"):
        promoted.rollback("bolt")
    assert promoted.rollback("bolt", 3) == 3
    assert promoted.rollback("bolt") == 1
    assert [(step.version, step.by) for step in promoted.history("bolt").history] == [
        (1, "promote"), (2, "promote"), (3, "promote"), (2, "rollback"), (1, "rollback"), (3, "rollback"),
        (1, "rollback"),
    ]  # fmt: skip


def test_after_a_rollback_a_promotion_returns_to_where_it_was(promoted, model):
    for _ in range(3):
        promoted.promote(model, "bolt")
    promoted.rollback("bolt")
    assert promoted.promote(model, "bolt").version == 4
    assert promoted.rollback("bolt") == 2


def test_a_rollback_passes_over_versions_that_were_removed_by_hand(promoted, model, tmp_path):
    for _ in range(3):
        promoted.promote(model, "bolt")
    promoted.folder("bolt", 2).rename(tmp_path / "gone")
    assert promoted.rollback("bolt") == 1


def test_the_history_is_written_as_documented(promoted, model, tmp_path):
    promoted.promote(model, "bolt")
    written = json.loads((tmp_path / "models" / "bolt" / "current.json").read_text())
    assert written.keys() == {"schema_version", "current", "history"}
    assert (written["schema_version"], written["current"]) == (1, 1)
    assert written["history"][0].keys() == {"version", "date", "by"}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"schema_version": 2, "current": 1, "history": []}',
        '{"schema_version": 1, "current": 1, "history": []}',
        '{"schema_version": 1, "current": 1, "history": [{"version": 2, "date": "", "by": "promote"}]}',
        '{"schema_version": 1, "current": -1, "history": [{"version": -1, "date": "", "by": "promote"}]}',
        "[" * 100_000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_damaged_history_says_what_to_do_and_a_rollback_mends_it(promoted, model, tmp_path, text):
    for _ in range(2):
        promoted.promote(model, "bolt")
    file = tmp_path / "models" / "bolt" / "current.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for call in (
        lambda: promoted.current("bolt"),
        lambda: promoted.promote(model, "bolt"),
        lambda: promoted.rollback("bolt"),
    ):
        with pytest.raises(StoreError, match=r"current.json.*There are 1, 2.*models rollback bolt --to 2"):
            call()
    assert promoted.versions("bolt") == [1, 2]
    assert promoted.rollback("bolt", to=1) == 1
    assert promoted.current("bolt") == 1
    assert promoted.promote(model, "bolt").version == 3


def test_no_history_at_all(promoted, model, tmp_path):
    promoted.promote(model, "bolt")
    (tmp_path / "models" / "bolt" / "current.json").unlink()
    with pytest.raises(StoreError, match=r"is missing.*rollback bolt --to 1"):
        promoted.current("bolt")
    assert promoted.promote(model, "bolt").version == 2


def test_the_folder_of_the_current_version_is_gone(promoted, model, tmp_path):
    for _ in range(2):
        promoted.promote(model, "bolt")
    promoted.folder("bolt", 2).rename(tmp_path / "gone")
    with pytest.raises(StoreError, match=r"version 2 is the current one, but its folder is gone.*--to 1"):
        promoted.folder("bolt")
    assert promoted.promote(model, "bolt").version == 3  # 2 is known from the history


def test_other_things_in_the_folder_are_no_versions(promoted, model, tmp_path):
    promoted.promote(model, "bolt")
    place = tmp_path / "models"
    (place / "notes.txt").write_text("mine")
    (place / "empty").mkdir()
    for name in ("7", "007", "x", "-1"):
        (place / "bolt" / name).mkdir()
    assert promoted.names() == ["bolt"]
    assert promoted.versions("bolt") == [1]
    assert promoted.promote(model, "bolt").version == 8


def test_threads_get_a_number_each(promoted, model):
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda _: promoted.promote(model, "bolt", keep=40).version, range(24)))
    assert sorted(done) == list(range(1, 25))
    assert promoted.versions("bolt") == sorted(done)
    history = promoted.history("bolt")
    assert [step.version for step in history.history] == sorted(done)
    for version in done:
        bundles.read(promoted.folder("bolt", version))


def process(tmp_path, code):
    start = "import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\nimport made_models\n"
    start += "from anomalybench.deploy.promoted import Promoted\npromoted = Promoted(Path(sys.argv[2]))\n"
    return subprocess.Popen([sys.executable, "-c", start + code, str(TESTS), str(tmp_path)], stdout=subprocess.PIPE)


def test_processes_get_a_number_each(promoted, tmp_path):
    code = "model = made_models.bundle()\nfor _ in range(5): print(promoted.promote(model, 'bolt', keep=20).version)"
    running = [process(tmp_path, code) for _ in range(2)]
    found = [int(line) for one in running for line in one.communicate(timeout=120)[0].split()]
    assert all(one.returncode == 0 for one in running)
    assert sorted(found) == list(range(1, 11))
    assert promoted.versions("bolt") == list(range(1, 11))


@pytest.mark.parametrize("at", ["weights.safetensors", "model.json", "before the rename", "current.json"])
def test_a_process_killed_in_the_middle_leaves_the_current_version(promoted, model, tmp_path, at):
    promoted.promote(model, "bolt")
    code = f"""
import os, signal
at, renamed, replaced = {at!r}, Path.rename, Path.replace
def kill(*_): os.kill(os.getpid(), signal.SIGKILL)
def replace(self, target): kill() if Path(target).name == at else replaced(self, target)
def rename(self, target): kill() if at == "before the rename" else renamed(self, target)
Path.replace, Path.rename = replace, rename
promoted.promote(made_models.bundle(), "bolt")
"""
    one = process(tmp_path, code)
    one.communicate(timeout=120)
    assert one.returncode == -signal.SIGKILL
    assert promoted.current("bolt") == 1
    assert set(promoted.versions("bolt")) <= {1, 2}
    for version in promoted.versions("bolt"):
        bundles.read(promoted.folder("bolt", version))
    done = promoted.promote(model, "bolt")
    assert done.version == promoted.versions("bolt")[-1] == promoted.current("bolt")
    assert promoted.rollback("bolt") == 1


@pytest.mark.parametrize("file", ["weights.safetensors", "model.json", "current.json"])
def test_a_disk_that_is_full_leaves_everything_as_it_was(promoted, model, tmp_path, monkeypatch, file):
    promoted.promote(model, "bolt")
    replaced = Path.replace

    def replace(self, target):
        if Path(target).name == file:
            raise OSError(28, "No space left on device")
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StoreError, match=r"No space left on device.*--results DIR"):
        promoted.promote(model, "bolt")
    monkeypatch.undo()
    assert promoted.versions("bolt") == [1]
    assert promoted.current("bolt") == 1
    assert [path.name for path in (tmp_path / "models" / "bolt").glob(f"{files.ASIDE}*")] == []
    assert promoted.promote(model, "bolt").version == 2


def test_what_killed_processes_left_is_removed_a_day_later(promoted, model, tmp_path):
    promoted.promote(model, "bolt")
    left, young = (tmp_path / "models" / "bolt" / f"{files.ASIDE}{name}" for name in ("old", "young"))
    for folder in (left, young):
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"half")
    long_ago = time.time() - 30 * 3600
    os.utime(left, (long_ago, long_ago))
    promoted.promote(model, "bolt")
    assert not left.exists()
    assert young.exists()


def test_a_service_needs_neither_torch_nor_pandas_to_read_it():
    code = "import sys; import anomalybench.deploy.promoted; assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
