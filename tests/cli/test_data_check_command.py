"""`anomalybench data check`: the table, the JSON file, the exit code."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """Ten normal and four defective images of noise."""
    rng = np.random.default_rng(0)
    for i in range(14):
        file = tmp_path / "photos" / ("good" if i < 10 else "bent") / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(file)
    return tmp_path / "photos"


@pytest.fixture
def check(cli, photos, tmp_path):
    return lambda *more: cli("data", "check", "folder", "--data", photos, "--results", tmp_path / "results", *more)


def test_faultless_images_end_well(check, tmp_path):
    result = check()
    assert result.exit_code == 0, result.text
    assert "14 images" in result.text
    assert "nothing leaks, nothing is wrong" in result.text
    (file,) = (tmp_path / "results" / "data_checks").glob("folder-*-photos-*.json")
    found = json.loads(file.read_text())
    assert (found["leaks"], found["errors"]) == (False, False)


def test_a_copy_is_a_leak_unless_it_is_in_the_group_of_its_original(check, photos, tmp_path):
    shutil.copy(photos / "good" / "00.png", photos / "good" / "00b.png")
    result = check()
    assert result.exit_code == 1
    for words in ("leak", "exact_duplicate", "good/00.png", "good/00b.png", "Keep one"):
        assert words in result.text
    (file,) = (tmp_path / "results" / "data_checks").iterdir()
    assert json.loads(file.read_text())["leaks"] is True
    assert check("--group-by", r"(\d\d)").exit_code == 0


def test_a_broken_file_is_named_and_the_others_are_checked(check, photos):
    (photos / "bent" / "10.png").write_bytes(b"no image")
    result = check()
    assert result.exit_code == 1
    assert "bent/10.png" in result.text
    assert "Traceback" not in result.text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--categories", "photo"], ["'photo'", "photos"]),
        (["--group-by", "nothing"], ["--group-by nothing matches none of the 14 paths", "bent/10.png"]),
        (["--set", "folder.name=a/b"], ["a/b", "no slashes"]),
        (["--group-by", "("], ["group_by", "regular expression"]),
        (["--set", "folder.nomal=fine"], ["nomal", "normal"]),
        (["--set", "cam.size=3"], ["cam", "folder"]),
    ],
)
def test_slips_are_refused(check, more, words):
    check(*more).assert_refused(*words)


def test_two_folders_of_one_name_do_not_overwrite_each_other(cli, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "other" / "photos")
    for folder in (photos, tmp_path / "other" / "photos", photos):
        assert cli("data", "check", "folder", "--data", folder, "--results", tmp_path / "results").exit_code == 0
    assert len(list((tmp_path / "results" / "data_checks").iterdir())) == 2


def test_the_number_of_groups_is_printed(check):
    result = check("--group-by", r"\w+/\d(\d)\.png")
    assert "10 groups from 14 images" in result.text


def test_what_is_left_out_is_shown(check, photos):
    (photos / "good" / "11.heic").write_bytes(b"heic")
    (photos / "empty").mkdir()
    result = check()
    assert result.exit_code == 0
    assert "left_out" in result.text
    assert "1 without images (empty)" in result.text
    assert "1 with the ending .heic, which is not read (good/11.heic)" in result.text


def test_names_cannot_control_the_terminal(check, photos):
    shutil.copy(photos / "good" / "00.png", photos / "good" / "\x1b[31mred.png")
    shutil.copy(photos / "good" / "00.png", photos / "good" / os.fsdecode(b"caf\xe9.png"))
    result = check()
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout + result.stderr
    for words in ("\\x1b[31mred.png", "caf\\xe9.png", "not UTF-8. Rename it."):
        assert words in result.text


def test_a_misspelt_dataset_is_refused(cli, photos):
    cli("data", "check", "foldr", "--data", photos).assert_refused("'foldr'", "folder")


def test_names_are_shown_as_they_are(check, photos):
    for folder in ("good", "bent"):
        shutil.copy(photos / "good" / "01.png", photos / folder / "[red]x :smile:.png")
    result = check()
    assert "contradiction" in result.text
    assert "[red]x :smile:.png" in result.text


def test_the_same_advice_is_printed_once_per_kind(check, photos, tmp_path):
    for name in ("00", "01", "02"):
        shutil.copy(photos / "good" / f"{name}.png", photos / "good" / f"{name}b.png")
    text = check().text
    assert text.count("hold the same picture") == 3
    assert text.count("exact_duplicate: Keep one.") == text.count("Keep one.") == 1
    (file,) = (tmp_path / "results" / "data_checks").iterdir()
    found = [one for category in json.loads(file.read_text())["categories"] for one in category["findings"]]
    assert all(one["detail"].endswith("Keep one.") for one in found if one["kind"] == "exact_duplicate")
