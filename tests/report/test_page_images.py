"""Images, masks and maps on the page: which, from where, in which colours."""

import base64
from pathlib import Path

import made_records as made
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from read_page import data_of, written

from anomalybench.evaluate import map_codes


def pictured(record, store, **options):
    return ["thumb" in image for image in data_of(written([record], store, **options))["images"]]


@pytest.mark.parametrize("outside", ["../secret.png", "{home}/secret.png", "link.png", "folder/secret.png"])
def test_pictures_come_from_the_data_folder_alone(store, put, tmp_path, outside):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    (tmp_path / "data" / "link.png").symlink_to(secret)
    (tmp_path / "data" / "folder").symlink_to(tmp_path)
    record = put(made.job("cam"))
    file = made.folder(store, record) / "scores.parquet"
    path = outside.format(home=tmp_path)
    pd.read_parquet(file).assign(path=path, mask=None).to_parquet(file)
    for folder in (None, tmp_path / "data"):
        images = data_of(written([record], store, folder=folder))["images"]
        assert not any("thumb" in image for image in images)
        assert all("outside" in image["missing"] for image in images)


def test_the_folder_that_is_named_is_the_only_one(store, put, tmp_path):
    record = put(made.job("cam"))
    assert all(pictured(record, store))
    (tmp_path / "other").mkdir()
    assert not any(pictured(record, store, folder=tmp_path / "other"))


def test_masks_come_from_the_data_folder_alone(store, put, tmp_path):
    Image.new("L", (made.WIDTH, made.HEIGHT), 255).save(tmp_path / "secret.png")
    record = put(made.job("cam"))
    file = made.folder(store, record) / "scores.parquet"
    pd.read_parquet(file).assign(mask="../secret.png").to_parquet(file)
    images = data_of(written([record], store, max_images=16))["images"]
    assert all("large" in image for image in images)
    assert not any("outline" in image for image in images)


def test_a_results_folder_from_elsewhere_shows_no_image_of_this_machine(store, put, tmp_path, monkeypatch):
    elsewhere = {"platform": "Linux-1.0", "date": "2026-01-02T03:04:05+00:00"}
    record = put(made.job("cam"), environment=elsewhere)
    data = data_of(written([record], store))
    assert not any("thumb" in image for image in data["images"])
    assert "16 of 16 images cannot be shown" in data["notices"][0]
    assert "--data DIR" in data["notices"][0]
    assert all(pictured(record, store, folder=tmp_path / "data")), "the reader has named the folder"
    assert not any(pictured(record, store, folder=tmp_path / "results"))
    monkeypatch.setenv("ANOMALYBENCH_DATA", str(tmp_path))
    assert all(pictured(record, store)), "the reader's usual data folder holds them"


@pytest.mark.parametrize("root", ["/", "~", "~/.."])
def test_a_root_that_holds_the_home_folder_is_no_data_folder(store, put, tmp_path, monkeypatch, root):
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    folder = Path(root).expanduser().resolve()
    Image.new("RGB", (8, 8)).save(home / "secret.png")
    record = put(made.job("cam"), root=str(folder))
    file = made.folder(store, record) / "scores.parquet"
    path = str((home / "secret.png").relative_to(folder))
    pd.read_parquet(file).assign(path=path, mask=None).to_parquet(file)
    assert not any(pictured(record, store))


def test_images_are_found_in_a_data_folder_that_was_moved(store, put, tmp_path):
    record = put(made.job("cam"), root="/nowhere/data")
    for folder in (tmp_path, tmp_path / "data"):
        assert all(pictured(record, store, folder=folder))


def test_images_that_are_gone_are_named(store, put, tmp_path):
    record = put(made.job("cam"), root=str(tmp_path / "moved"))
    data = data_of(written([record], store))
    assert all("missing" in image for image in data["images"])
    assert any("16 of 16 images cannot be shown" in notice for notice in data["notices"])


def test_a_mask_that_is_gone_costs_only_the_outline(store, put, tmp_path):
    record = put(made.job("cam"))
    for mask in (tmp_path / "data").rglob("*_mask.png"):
        mask.unlink()
    data = data_of(written([record], store))
    images = data["images"]
    assert all("large" in image for image in images)
    assert "8 of 16 images are shown without the outline" in " ".join(data["notices"])
    assert [image["path"] for image in images if "missing" in image] == [i["path"] for i in images if i["label"]]


@pytest.mark.parametrize("mask", [5, "nul\0.png", "bolt"])
def test_masks_that_cannot_be_read_cost_only_the_outline(store, put, mask):
    record = put(made.job("cam"))
    file = made.folder(store, record) / "scores.parquet"
    pd.read_parquet(file).assign(mask=mask).to_parquet(file)
    data = data_of(written([record], store, max_images=4))
    assert sum("large" in image for image in data["images"]) == 4
    assert "its mask cannot be read" in " ".join(data["notices"])


def test_an_image_is_kept_once_however_many_methods_saw_it(store, put):
    records = [put(made.job(f"m{i}"), seed=i) for i in range(3)]
    data = data_of(written(records, store, max_images=4))
    assert len(data["images"]) == 16
    assert sum("large" in image for image in data["images"]) == 4
    assert all("thumb" in image for image in data["images"])
    for job in data["jobs"]:
        assert len(job["maps"]) == 4
    assert sum("thumb" in image for image in data_of(written(records, store, max_images=1))["images"]) == 5
    assert not any("thumb" in image for image in data_of(written(records, store, max_images=0))["images"])


def test_one_extreme_value_takes_no_colours(store, put):
    """Nearly all maps' values keep apart, and the page says what is beyond."""
    record = put(made.job("cam"))
    file = made.folder(store, record) / "maps.npz"
    maps = map_codes.decode(store.maps(record))
    tame = data_of(written([record], store))["jobs"][0]
    maps[0, 0, 0] = maps[-1, 0, 0] = 60000
    coded = map_codes.encode(maps)
    np.savez_compressed(file, codes=coded.codes, values=coded.values)
    (job,) = data_of(written([record], store))["jobs"]
    assert job["colours"] == pytest.approx(tame["colours"], abs=0.1)
    spread = [np.std(list(base64.b64decode(one["bytes"]))) for one in job["maps"].values()]
    assert min(spread) > 10
    assert {one["n"] for one in job["maps"].values()} == {16 * 20}
    assert sum(one["beyond"] for one in job["maps"].values()) > 0
