"""What a run of the tests could not show for want of real images stands at its end."""

import shutil
import subprocess
import sys
from pathlib import Path

TESTS = """
def test_on_real_images(data):
    raise AssertionError("there are none")

def test_of_something_else():
    pass
"""


def test_tests_on_real_images_that_were_skipped_are_listed_with_the_reason(tmp_path):
    folder = tmp_path / "clone" / "tests"
    folder.mkdir(parents=True)
    for name in ("conftest.py", "drawn.py"):
        shutil.copy(Path(__file__).with_name(name), folder)
    (folder / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", folder]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    _, _, listed = done.stdout.partition("skipped for want of real images")
    assert f"the real images are not in {tmp_path / 'shared' / 'data'}" in listed
    assert "test_some.py::test_on_real_images" in listed
    assert "test_of_something_else" not in listed
