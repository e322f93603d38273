"""Disks that fill up, vanish, or hold what a power cut or a killed run has left."""

import os
import shutil
import subprocess
import time

import pytest

from anomalybench.bench.store import Store
from anomalybench.core.files import sweep


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a quarter of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_is_done(probe, command, small_disk, cli, fits, tmp_path):
    results = small_disk / "results"
    full = cli(*command(8, "--results", results))
    full.assert_refused(results, "No space left on device")
    done = {record.job.seed for record in Store(results).records()}
    assert 1 < len(done) < 8
    assert all(record.status == "ok" for record in Store(results).records())
    assert max(fits()) == len(done), "one job found the disk full, no further ones ran"
    assert not [file for file in results.rglob("*") if file.name.startswith(".")]

    larger = shutil.copytree(results, tmp_path / "larger")
    again = cli(*command(8, "--results", larger))
    assert again.exit_code == 0
    assert again.text.count("done before") == len(done)


def test_a_results_folder_that_vanishes_is_named_and_not_made_anew(probe, command, start, fits, tmp_path):
    results = tmp_path / "results"
    run = start(*command(20, "--set", "probe.pause=0.3", "--results", results))
    deadline = time.monotonic() + 60
    while len(fits()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    results.rename(tmp_path / "elsewhere")
    _, messages = run.communicate(timeout=60)
    assert run.returncode == 2, messages
    assert f"the results folder {results} is not there" in messages
    assert "Traceback" not in messages
    assert not results.exists()
    assert list(Store(tmp_path / "elsewhere").records())


def test_old_leftovers_are_swept_and_young_ones_are_not(probe, command, cli, tmp_path):
    assert cli(*command(1, "--results", tmp_path / "r")).exit_code == 0
    (job,) = (tmp_path / "r" / "runs").glob("*/*/*/*")
    old, young = job.with_name(f".{job.name}.old"), job.with_name(f".{job.name}.young")
    torn = tmp_path / "r" / "leaderboards" / ".anomalybench-aside.torn"
    for folder in (old, young):
        shutil.copytree(job, folder)
    torn.write_text("half a li")
    for path in (old, torn, job):
        os.utime(path, (time.time() - 90_000,) * 2)
    assert cli(*command(1, "--results", tmp_path / "r")).exit_code == 0
    assert [path.exists() for path in (old, young, torn, job)] == [False, True, False, True]


def test_nothing_but_leftovers_is_swept(tmp_path):
    for name in (".old", "old"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path, "*")
    sweep(tmp_path / "not there")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
