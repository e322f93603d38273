"""Which files a user means."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalybench.core.errors import DataError, UsageError
from anomalybench.deploy.image_list import listed, watched


@pytest.fixture
def images(tmp_path, monkeypatch):
    for name in ("b.png", "a.png", "inner/c.jpg", "inner/d.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["."], ["a.png", "b.png", "inner/c.jpg", "inner/d.bmp"]),
        (["b.png", "a.png"], ["b.png", "a.png"]),
        (["*.png"], ["a.png", "b.png"]),
        (["**/*.jpg", "b.png"], ["inner/c.jpg", "b.png"]),
        (["inn*"], ["inner/c.jpg", "inner/d.bmp"]),
        (["readme.txt"], ["readme.txt"]),
        (["-"], ["x y.png", "gone.png"]),
    ],
)
def test_files_folders_patterns_and_lists(images, names, found):
    assert [str(path) for path in listed(names, ["x y.png\n", "\n", "gone.png\r\n"])] == found


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("gone.png", UsageError, "no such file"),
        ("*.tif", UsageError, "no file fits"),
        ("empty", DataError, "no images"),
    ],
)
def test_what_is_not_there_is_named(images, name, kind, words):
    with pytest.raises(kind, match=words):
        list(listed([name], ()))


def test_a_watched_folder_gives_each_file_once_and_only_when_it_is_complete(images):
    written = []

    def write():
        written.append(None)
        if len(written) == 2:
            (images / "late.png").write_bytes((images / "a.png").read_bytes()[:20])
        if len(written) == 3:
            (images / "late.png").write_bytes((images / "a.png").read_bytes())

    files = [path.name for path in islice(watched(images, [str(images / "b.png")], write), 4)]
    assert files == ["a.png", "c.jpg", "d.bmp", "late.png"]
    assert len(written) >= 4


def test_only_a_folder_can_be_watched(images):
    with pytest.raises(UsageError, match="follows a folder"):
        next(watched(Path("a.png")))
