"""The dataset `folder`: what its category is called, which labels a manifest may have, what is left out."""

import numpy as np
import pytest
from PIL import Image

from anomalybench.core import parameters
from anomalybench.core.dataset import LeftOut
from anomalybench.core.errors import DataError, UsageError
from anomalybench.datasets.folder import Folder


def draw(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(file)


def manifest(root, text, encoding="utf-8"):
    draw(*(root / f"{name}.png" for name in "abc"))
    (root / "list.csv").write_bytes(text.encode(encoding))
    return Folder(manifest="list.csv").load(root, root.name)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("bolts", "bolts"),
        ("lineA/images", "lineA-images"),
        ("lineB/images", "lineB-images"),
        ("lineA/Data/train", "lineA-Data-train"),
        ("lineA/imgs/nuts", "nuts"),
    ],
)
def test_the_category_is_named_after_the_folder_and_its_parents_where_that_says_little(tmp_path, folder, name):
    (tmp_path / folder).mkdir(parents=True)
    assert Folder().categories(tmp_path / folder) == [name]
    settled = Folder().settled(tmp_path / folder)
    assert settled == Folder(name=name)
    assert settled.categories(tmp_path) == [name]


def test_a_given_name_is_taken(tmp_path):
    assert Folder(name="My parts").categories(tmp_path / "images") == ["My parts"]


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", ".hidden", " x", "a\x1b", "a\nb"])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(UsageError, match="folder: name ="):
        parameters.build(Folder, "folder", {"name": name})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_manifest_may_be_separated_in_three_ways_and_begin_with_a_mark(tmp_path, separator):
    lines = ["Path, label,defect", "a.png,OK,", "b.png,nok,scratch", "c.png,Pass,"]
    items = manifest(tmp_path, "\n".join(lines).replace(",", separator), "utf-8-sig")
    assert [(item.path, item.label, item.defect) for item in items] == [
        ("a.png", 0, "good"), ("b.png", 1, "scratch"), ("c.png", 0, "good"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [(("OK", "NOK", "good"), [0, 1, 0]), (("pass", "FAIL", "Bad"), [0, 1, 1]), (("0", "NG", "1"), [0, 1, 1])],
)
def test_the_usual_labels_are_understood(tmp_path, labels, wanted):
    rows = (f"{name}.png;{label}" for name, label in zip("abc", labels, strict=True))
    items = manifest(tmp_path, "\n".join(["path;label", *rows]))
    assert [item.label for item in items] == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file;label\na.png;OK", "column 'file'"),
        ("path;defect\na.png;x", "'label' is missing .found path, defect, separated by ';'."),
        ("path,label\na.png,OK\nb.png,maybe", "line 3: label 'maybe'. Write 0 or normal .OK"),
        ("path,label\na\0.png,OK", "line 2"),
        ("path,label\nä.png,OK", "cannot be read as a CSV file in UTF-8"),
    ],
)
def test_a_wrong_manifest_tells_what_was_seen(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        manifest(tmp_path, text, "latin-1")


def test_everything_that_is_left_out_is_named(tmp_path):
    draw(*(tmp_path / name for name in ("good/0.png", "good/deep/1.png", "bad/0.png", "loose.png", "good/.h.png")))
    (tmp_path / "empty").mkdir()
    for name in ("good/1.heic", "bad/deep/readme", "Thumbs.db", "readme.TXT", "a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    draw(tmp_path / ".cache" / "2.png", tmp_path / "bad" / ".ipynb_checkpoints" / "3.png")
    assert Folder().left_out(tmp_path, "") == [
        LeftOut(".cache", "hidden"),
        LeftOut("a.mp4", "with the ending .mp4, which is not read"),
        LeftOut("bad/.ipynb_checkpoints", "hidden"),
        LeftOut("bad/deep/readme", "with no ending, which is not read"),
        LeftOut("empty", "without images"),
        LeftOut("good/.h.png", "hidden"),
        LeftOut("good/1.heic", "with the ending .heic, which is not read"),
        LeftOut("loose.png", "beside the class folders"),
    ]
    assert len(Folder().items(tmp_path, "")) == 3


def test_links_in_a_circle_are_not_followed(tmp_path):
    draw(tmp_path / "good" / "0.png", tmp_path / "far" / "1.png")
    for i in range(3):
        (tmp_path / "good" / f"back{i}").symlink_to(tmp_path)
    (tmp_path / "good" / "away").symlink_to(tmp_path / "far")
    found = [item.path for item in Folder().items(tmp_path, "") if item.label == 0]
    assert found == ["good/0.png", "good/away/1.png"]


def test_images_that_a_manifest_does_not_list_are_left_out(tmp_path):
    manifest(tmp_path, "path,label\na.png,OK")
    left = Folder(manifest="list.csv").left_out(tmp_path, tmp_path.name)
    assert left == [LeftOut("b.png", "not in the manifest"), LeftOut("c.png", "not in the manifest")]


def test_endings_follow_the_formats_that_are_opened(tmp_path, monkeypatch):
    draw(tmp_path / "good" / "0.png")
    (tmp_path / "good" / "1.tga").write_bytes(b"x")
    assert len(Folder().items(tmp_path, "")) == 1
    monkeypatch.setenv("ANOMALYBENCH_FORMATS", "TGA")
    assert len(Folder().items(tmp_path, "")) == 2
    assert Folder().left_out(tmp_path, "") == []
