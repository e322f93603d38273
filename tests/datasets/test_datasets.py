import numpy as np
import pytest

from anomalybench.core import parameters, registry
from anomalybench.core.protocols.standard import Standard
from anomalybench.datasets.synthetic import Synthetic
from anomalybench.testing import check_dataset
from anomalybench.vision.images import read_mask, read_rgb


@pytest.mark.parametrize("name", ["synthetic", "elpv"])
def test_datasets_that_need_no_folder_keep_the_contract(name):
    options = {"n_normal": 8, "n_anomalous": 8} if name == "synthetic" else {}
    check_dataset(parameters.build(registry.dataset(name), name, options))


@pytest.mark.parametrize(
    ("folder", "categories"), [("cookies", ["cookie"]), ("mvtec_mini", ["hazelnut", "transistor"])]
)
def test_mvtec_layout_on_real_images(data, folder, categories):
    dataset = parameters.build(registry.dataset("mvtec_ad"), "mvtec_ad", {})
    check_dataset(dataset, data / folder)
    assert dataset.categories(data / folder) == categories


def test_cookies_have_masks_where_they_should(data):
    dataset = parameters.build(registry.dataset("mvtec_ad"), "mvtec_ad", {})
    items = dataset.load(data / "cookies", "cookie")
    masked = {item.defect for item in items if item.mask}
    assert masked == {"defect"}
    assert sum(item.label for item in items) == 40
    assert sum(item.mask is not None for item in items) == 32


def test_elpv_leaves_uncertain_cells_out():
    dataset = parameters.build(registry.dataset("elpv"), "elpv", {})
    items = {c: dataset.load(dataset.root(None), c) for c in ("mono", "poly")}
    counts = {c: [sum(i.label == label for i in found) for label in (0, 1)] for c, found in items.items()}
    assert counts == {"mono": [588, 313], "poly": [920, 402]}


def test_synthetic_defects_change_the_image_only_under_the_mask(monkeypatch, tmp_path):
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path))
    dataset = Synthetic(n_normal=4, n_anomalous=8)
    root = dataset.root(None)
    for category in dataset.categories(root):
        items = [item for item in dataset.load(root, category) if item.mask]
        assert {item.defect for item in items} == {"scratch", "spot", "stain", "hole"}
        for item in items:
            mask = read_mask(root / item.mask)
            assert 0.002 < mask.mean() < 0.2
            assert read_rgb(root / item.path).shape == (128, 128, 3)


def test_synthetic_images_are_drawn_the_same_again(monkeypatch, tmp_path):
    pictures = []
    for folder, n in (("a", 5), ("b", 9)):
        monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / folder))
        dataset = Synthetic(n_normal=n, n_anomalous=4)
        root = dataset.root(None)
        pictures.append([read_rgb(root / item.path) for item in dataset.load(root, "disc") if "0003" in item.path])
    assert len(pictures[0]) == 2
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True))


def test_synthetic_has_a_split_of_its_own():
    dataset = Synthetic(n_normal=10, n_anomalous=8)
    split = Standard().split(dataset.load(dataset.root(None), "weave"), 0, "")
    assert (len(split.train), len(split.calibration), len(split.test)) == (5, 1, 12)
