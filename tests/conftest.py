import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before numpy and torch are there: threads of several workers on the same cores wait for each other, and a test
    # takes up to seven times as long. Processes that tests start take it over.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from drawn import draw

from anomalybench.core import registry

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
_NO_IMAGES = "the real images are not in"
_numbers = itertools.count()


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def text(self):
        """Everything printed, without the line breaks that wrapping puts in."""
        return " ".join(f"{self.stdout} {self.stderr}".split())

    def assert_refused(self, *words):
        """Bad input: exit code 2, no traceback, and these words in what is printed."""
        assert self.exit_code == 2, self.text
        assert "Traceback" not in self.text
        for word in words:
            assert str(word) in self.text


def pytest_collection_modifyitems(items):
    """The longest come first, and the quickstart before all: no worker is left with a long one at the end."""
    items.sort(key=lambda item: (item.path.name != "test_quickstart.py", item.get_closest_marker("slow") is None))


def pytest_terminal_summary(terminalreporter):
    """Tests on real images that were skipped, by name: what they would have shown was not shown."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if _NO_IMAGES in str(report.longrepr)]
    if not skipped:
        return
    terminalreporter.section("skipped for want of real images")
    terminalreporter.line(f"{_NO_IMAGES} {SHARED}")
    for report in skipped:
        terminalreporter.line(report.nodeid)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No settings of the user's own, and text that is not wrapped."""
    for name in ("ANOMALYBENCH_DATA", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="session")
def data():
    """Folder of real images, which are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"{_NO_IMAGES} {SHARED}")
    return SHARED


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs the command in this process."""
    from anomalybench.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["anomalybench", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def cli_process():
    """Runs the command as a user does, in a process of its own."""

    def call(*arguments):
        command = [sys.executable, "-c", "from anomalybench.cli import main; main()", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def acme_home(tmp_path_factory):
    """Folder into which pip has installed the third-party package in tests/plugin."""
    home = tmp_path_factory.mktemp("acme")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", home, HERE / "plugin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def on_path(monkeypatch):
    """Makes a folder of installed packages visible to this process and to those that it starts."""

    def add(folder):
        monkeypatch.syspath_prepend(folder)
        earlier = os.environ.get("PYTHONPATH")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), earlier])))
        registry.plugins.cache_clear()

    yield add
    monkeypatch.undo()
    registry.plugins.cache_clear()


@pytest.fixture
def acme(on_path, acme_home):
    """The method `brightest`, which fits in no time, and the dataset `stripes`."""
    on_path(acme_home)


@pytest.fixture
def run(acme, cli, tmp_path):
    """The sub-command `run`, with results in a folder of the test's own."""
    return lambda *arguments: cli("run", *arguments, "--results", tmp_path / "results")


@pytest.fixture
def images(tmp_path):
    """A data set in MVTec's layout: two categories of 10 + 5 normal images and 10 scratched ones, half of these masked.

    All images are 8 x 8.
    """
    for category in ("bolt", "nut"):
        folder = tmp_path / "images" / category
        for i in range(15):
            draw(folder / ("train" if i < 10 else "test") / "good" / f"{i:02d}.png", 100 + i)
        for i in range(10):
            draw(folder / "test" / "scratch" / f"{i:02d}.png", 180 + i)
            if i < 5:
                draw(folder / "ground_truth" / "scratch" / f"{i:02d}_mask.png", 255)
    return tmp_path / "images"


@pytest.fixture
def make_plugin(on_path, tmp_path):
    """Installs a package with the given plugin files, as `make_plugin(methods={"name": "source"})`; returns its name.

    Other kinds: `datasets` and `protocols`.

    Every package has a name of its own, since Python imports a module only once per process.
    """

    def make(package=None, **plugins):
        package = package or f"plugin{next(_numbers)}"
        home = tmp_path / f"site-{package}"
        points = []
        for kind, sources in plugins.items():
            folder = home / package / kind
            folder.mkdir(parents=True)
            for name, source in {"__init__": "", **sources}.items():
                (folder / f"{name}.py").write_text(source)
            points.append(f"[anomalybench.{kind}]\n{package} = {package}.{kind}\n")
        info = home / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text("\n".join(points))
        on_path(home)
        return package

    return make
