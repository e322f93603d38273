"""`anomalybench data check`: the table, the JSON file, the exit code."""

import json
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
    found = json.loads((tmp_path / "results" / "data_checks" / "folder.json").read_text())
    assert (found["leaks"], found["errors"]) == (False, False)


def test_a_copy_is_a_leak_unless_it_is_tied_to_its_original(check, photos, tmp_path):
    shutil.copy(photos / "good" / "00.png", photos / "good" / "00b.png")
    result = check()
    assert result.exit_code == 1
    for words in ("leak", "exact_duplicate", "good/00.png", "good/00b.png", "Keep one"):
        assert words in result.text
    found = json.loads((tmp_path / "results" / "data_checks" / "folder.json").read_text())
    assert found["leaks"] is True
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
        (["--group-by", "("], ["group_by", "regular expression"]),
        (["--set", "folder.nomal=fine"], ["nomal", "normal"]),
        (["--set", "cam.size=3"], ["cam", "folder"]),
    ],
)
def test_slips_are_refused(check, more, words):
    check(*more).assert_refused(*words)


def test_a_misspelt_dataset_is_refused(cli, photos):
    cli("data", "check", "foldr", "--data", photos).assert_refused("'foldr'", "folder")


def test_names_are_shown_as_they_are(check, photos):
    for folder in ("good", "bent"):
        shutil.copy(photos / "good" / "01.png", photos / folder / "[red]x :smile:.png")
    result = check()
    assert "contradiction" in result.text
    assert "[red]x :smile:.png" in result.text
