"""Folders of all kinds: recognised, or refused with options of which every one works."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from anomalybench.core import parameters, registry
from anomalybench.core.dataset import LeftOut
from anomalybench.core.errors import DataError
from anomalybench.datasets._layout import recognise
from anomalybench.datasets.folder import Folder
from anomalybench.datasets.mvtec_ad import MvtecAd


@pytest.fixture
def make(tmp_path):
    """A folder with n images in each of some sub-folders."""

    def call(**counts):
        for name, n in counts.items():
            for i in range(n):
                file = tmp_path / "set" / name.replace("__", "/") / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.zeros((4, 4), np.uint8)).save(file)
        return tmp_path / "set"

    return call


def items_of(words):
    """What the options in an error find: number of items, and of normal ones."""
    values = dict(zip(words[::2], words[1::2], strict=True))
    assert values.keys() <= {"--dataset", "--data", "--categories", "--set"}
    name, params = values["--dataset"], {}
    if "--set" in values:
        key, _, value = values["--set"].partition("=")
        params[key.removeprefix(f"{name}.")] = yaml.safe_load(value)
    plugin = parameters.build(registry.dataset(name), name, params)
    root = plugin.root(Path(values["--data"]))
    categories = values["--categories"].split(",") if "--categories" in values else plugin.categories(root)
    items = [item for category in categories for item in plugin.load(root, category)]
    return len(items), sum(item.label == 0 for item in items)


def offered(error):
    """The options that an error offers, each tried."""
    lines = re.findall(r"^  anomalybench run (--dataset .*?)    \(", str(error), re.MULTILINE)
    return {line: items_of(shlex.split(line)) for line in lines}


def test_class_folders_are_recognised(make):
    layout = recognise(make(good=5, scratch=2))
    assert (layout.dataset, layout.params, layout.categories) == ("folder", {}, ())
    assert layout.understood == "a folder with the classes good (5) and scratch (2)"


def test_mvtec_layout_is_recognised(make):
    data = make(
        bottle__train__good=3, bottle__test__good=2, bottle__test__crack=2, nut__train__good=3, nut__test__bent=1
    )
    layout = recognise(data)
    assert (layout.dataset, layout.data, layout.categories) == ("mvtec_ad", data, ())
    assert layout.understood == "folders with train and test in them: the categories bottle and nut"
    one = recognise(data / "bottle")
    assert (one.dataset, one.data, one.categories) == ("mvtec_ad", data, ("bottle",))
    assert items_of(shlex.split(one.options)) == (7, 5)


def test_a_manifest_is_recognised(make):
    data = make(shots=4)
    (data / "labels.csv").write_text("path;label\nshots/0.png;OK\nshots/1.png;NOK\n")
    layout = recognise(data)
    assert (layout.dataset, layout.params) == ("folder", {"manifest": "labels.csv"})
    assert "labels.csv" in layout.understood


def test_a_table_that_is_no_manifest_is_none(make):
    data = make(good=4)
    (data / "notes.csv").write_text("when,who\n1,2\n")
    assert recognise(data).params == {}


@pytest.mark.parametrize(
    ("counts", "options", "found"),
    [
        ({"ok_front": 4, "def_front": 2}, "--set folder.normal=ok_front", (6, 4)),
        ({"OK-1": 4, "OK-2": 3, "NOK": 2}, "--set folder.normal=OK-1,OK-2", (9, 7)),
        ({"no": 4, "yes": 2}, """--set 'folder.normal="no"'""", (6, 4)),
        ({"A": 2, "B": 5}, "--set folder.normal=B", (7, 5)),
        ({"hazelnut__good": 3, "hazelnut__hole": 2, "nut__good": 1}, "--data {}/hazelnut", (5, 3)),
        ({"train__ok_front": 3, "train__def_front": 1, "test__ok_front": 2}, "--set mvtec_ad.normal=ok_front", (6, 5)),
        ({"train__ok_front": 3, "train__def_front": 1}, "--data {}/train --set folder.normal=ok_front", (4, 3)),
        ({"mvtec__nut__train__good": 3, "mvtec__nut__test__good": 1}, "--dataset mvtec_ad --data {}/mvtec", (4, 4)),
    ],
)
def test_what_is_in_doubt_is_refused_with_options_that_work(make, counts, options, found):
    data = make(**counts)
    with pytest.raises(DataError, match="found ") as error:
        recognise(data)
    tried = offered(error.value)
    assert next(n for line, n in tried.items() if options.format(data) in line) == found
    assert all(normal > 0 for _, normal in tried.values())


def test_folder_offers_what_works(make):
    data = make(bottle__train__good=3, bottle__test__good=2, bottle__test__crack=2)
    for asked, found in ((data, (7, 5)), (data / "bottle", (7, 5))):
        with pytest.raises(DataError, match="no sub-folder of normal images") as error:
            Folder().load(asked, Folder().categories(asked)[0])
        assert found in offered(error.value).values()
    with pytest.raises(DataError, match=r"found the folders test \(4\) and train \(3\)"):
        Folder().items(data / "bottle", "bottle")


def test_mvtec_ad_offers_what_works(make):
    data = make(bottle__train__good=3, bottle__test__good=2, bottle__test__crack=2)
    with pytest.raises(DataError, match="no folder with train and test") as error:
        MvtecAd().categories(data / "bottle")
    assert list(offered(error.value).values()) == [(7, 5)]
    with pytest.raises(DataError) as error:
        MvtecAd().categories(make(good=2, bad=1).joinpath("bottle", "train"))
    assert any("--dataset folder" in line for line in offered(error.value))


@pytest.mark.parametrize("ask", [recognise, lambda data: Folder().items(data, "")])
def test_loose_images_are_told_what_to_do(make, ask):
    data = make(**{".": 6})
    with pytest.raises(DataError, match="found 6 images that lie in no sub-folder") as error:
        ask(data)
    for words in (f"into {data}/good", "manifest", "--set folder.manifest=FILE.csv", "folder.normal=NAME"):
        assert words in str(error.value)
    assert not offered(error.value)


def test_an_empty_folder_is_called_empty(tmp_path):
    with pytest.raises(DataError, match="found neither images nor folders"):
        recognise(tmp_path)


def test_a_file_and_nothing_are_no_folders(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.png is a file, not a folder"):
        recognise(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"--data \S+ --set folder\.manifest=list\.csv"):
        recognise(tmp_path / "list.csv")
    with pytest.raises(DataError, match="gone does not exist"):
        recognise(tmp_path / "gone")


def test_mvtec_ad_names_what_is_left_out(make):
    data = make(
        nut__train__good=2, nut__test__good=1, nut__test__bent=1, nut__val__good=1, nut__train=1,
        nut__ground_truth__bent=2, nut__ground_truth__cut=1,
    )  # fmt: skip
    (data / "nut" / "test" / "empty").mkdir()
    (data / "nut" / "test" / "bent" / "x.heic").write_bytes(b"x")
    (data / "nut" / "license.txt").write_text("x")
    assert MvtecAd().left_out(data, "nut") == [
        LeftOut("nut/ground_truth/bent/1.png", "masks of no image"),
        LeftOut("nut/ground_truth/cut/0.png", "masks of no image"),
        LeftOut("nut/test/bent/x.heic", "with the ending .heic, which is not read"),
        LeftOut("nut/test/empty", "without images"),
        LeftOut("nut/train/0.png", "beside the class folders of train"),
        LeftOut("nut/val", "beside train, test and ground_truth"),
    ]
