"""Images as methods see them: the range of 16-bit cameras, and files that change between plan and run."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from anomalybench.core.errors import DataError
from anomalybench.vision.images import ImageFiles, bits_in_use, n_beyond, read_mask, read_rgb


def save(file, pixels):
    Image.fromarray(pixels).save(file)
    return file


def sixteen(file, *values):
    return save(file, np.array([values], np.uint16))


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_same_pictures_in_8_bits_and_in_a_cameras_bits_are_the_same(tmp_path, bits, ending):
    grey = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    grey[0, 0] = 255
    wide = np.rint(grey * ((2**bits - 1) / 255)).astype(np.uint16)
    narrow, deep = save(tmp_path / "narrow.png", grey), save(tmp_path / f"deep.{ending}", wide)
    assert bits_in_use([narrow, deep]) == bits
    assert np.array_equal(ImageFiles([deep], bits=bits)[0], read_rgb(narrow))


@pytest.mark.parametrize(
    ("greatest", "bits"),
    [(0, 8), (255, 8), (256, 10), (1000, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16384, 16), (65535, 16)],
)
def test_the_least_depth_that_holds_the_greatest_value_is_in_use(tmp_path, greatest, bits):
    files = [sixteen(tmp_path / "a.png", 0, 7), sixteen(tmp_path / "b.png", greatest, 0)]
    assert bits_in_use(files) == bits_in_use(files[::-1]) == bits


def test_without_16_bit_images_the_depth_is_16_and_nothing_is_beyond(tmp_path):
    files = [save(tmp_path / "a.png", np.full((3, 3), 9, np.uint8))]
    assert bits_in_use(files) == bits_in_use([]) == 16
    assert n_beyond(files, 10) == 0


def test_values_beyond_the_range_are_white_and_their_images_are_counted(tmp_path):
    files = [sixteen(tmp_path / f"{value}.png", 0, 512, value) for value in (1023, 1024, 60000)]
    assert [n_beyond(files, bits) for bits in (8, 10, 12, 16)] == [3, 2, 1, 0]
    assert read_rgb(files[2], 10)[0, :, 0].tolist() == [0, 128, 255]


def test_keys_to_what_was_computed_differ_with_the_bits(tmp_path):
    files = [sixteen(tmp_path / f"{i}.png", 0, 900 + i) for i in range(3)]
    hashes = [digest(file) for file in files]
    assert ImageFiles(files, hashes).hashes == tuple(hashes)
    shown = ImageFiles(files, hashes, bits=10)
    assert set(shown.hashes).isdisjoint(hashes)
    assert shown[1:].hashes == shown.hashes[1:]
    assert np.array_equal(shown[1:][0], read_rgb(files[1], 10))
    assert ImageFiles(files, bits=10).hashes is None


def test_a_file_that_has_changed_is_refused(tmp_path):
    files = [save(tmp_path / f"{i}.png", np.full((4, 4), 10 * i, np.uint8)) for i in range(2)]
    shown = ImageFiles(files, [digest(file) for file in files])
    unchecked = ImageFiles(files)
    assert [int(image.max()) for image in shown] == [0, 10]
    save(files[1], np.full((4, 4), 99, np.uint8))
    assert int(shown[0].max()) == 0
    for read in (lambda: shown[1], lambda: shown[1:][0]):
        with pytest.raises(DataError, match=r"1\.png has changed since the run began"):
            read()
    assert int(unchecked[1].max()) == 99


def test_a_mask_that_has_changed_is_refused(tmp_path):
    file = save(tmp_path / "mask.png", np.array([[0, 255]], np.uint8))
    before = digest(file)
    assert read_mask(file, before).tolist() == [[False, True]]
    save(file, np.array([[255, 255]], np.uint8))
    with pytest.raises(DataError, match=r"mask\.png has changed"):
        read_mask(file, before)
