"""All files that cannot be used are named at once, before anything runs."""

import os

import numpy as np
import pytest
from PIL import Image

from anomalybench.core.dataset import Item
from anomalybench.core.errors import DataError
from anomalybench.vision.file_checks import check_files, unreadable


@pytest.fixture
def items(tmp_path):
    """Twenty images, the last five with masks."""
    made = [Item(f"{i:02d}.png", "c", 0) for i in range(15)]
    made += [Item(f"{i:02d}.png", "c", 1, "crack", mask=f"mask{i:02d}.png") for i in range(15, 20)]
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    for file in [name for item in made for name in (item.path, item.mask) if name]:
        Image.fromarray(pixels).save(tmp_path / file)
    return made


def break_all(root):
    (root / "00.png").unlink()
    (root / "01.png").write_bytes(b"")
    (root / "02.png").write_bytes(b"no image")
    (root / "mask15.png").write_bytes(b"no mask")
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(root / "mask16.png")


def test_every_fault_is_found_with_its_reason(tmp_path, items):
    assert unreadable(tmp_path, items) == {}
    break_all(tmp_path)
    found = unreadable(tmp_path, items)
    assert list(found) == ["00.png", "01.png", "02.png", "mask15.png", "mask16.png"]
    words = ["does not exist", "empty (0 bytes)", "cannot be read as an image", "cannot be read", "8x4, but its image"]
    assert all(word in reason for word, reason in zip(words, found.values(), strict=True))
    assert not any(str(tmp_path) in reason for reason in found.values())


def test_only_decoding_finds_a_file_that_was_cut_off(tmp_path, items):
    whole = (tmp_path / "03.png").read_bytes()
    (tmp_path / "03.png").write_bytes(whole[: len(whole) // 2])
    assert unreadable(tmp_path, items) == {}
    assert list(unreadable(tmp_path, items, decode=True)) == ["03.png"]


def test_all_are_refused_in_one_error_that_names_ten(tmp_path, items):
    check_files(tmp_path, items)
    break_all(tmp_path)
    with pytest.raises(DataError, match="5 files cannot be used") as error:
        check_files(tmp_path, items, "folder")
    for name in unreadable(tmp_path, items):
        assert str(tmp_path / name) in str(error.value)
    assert "anomalybench data check folder" in str(error.value)
    assert "--skip-unreadable" in str(error.value)
    for i in range(3, 15):
        (tmp_path / f"{i:02d}.png").unlink()
    with pytest.raises(DataError, match=r"17 files cannot be used(?s:.*)\.\.\. and 7 more"):
        check_files(tmp_path, items)


def test_only_what_is_used_counts(tmp_path, items):
    break_all(tmp_path)
    check_files(tmp_path, items[3:15])


def test_a_name_that_is_not_utf8_is_named(tmp_path, items):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "03.png").rename(tmp_path / name)
    with pytest.raises(DataError, match=r"caf\\xe9\.png: its name is not UTF-8") as error:
        check_files(tmp_path, [Item(name, "c", 0), *items[4:]])
    assert str(error.value).encode()
