"""Files that are not what they seem: other formats under an image's name, huge, damaged, strangely named."""

import io
import os
import subprocess
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from anomalybench.core.errors import DataError, UsageError, printable
from anomalybench.vision.decoding import upright_size
from anomalybench.vision.images import read_mask, read_rgb

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n0 0 10 10 rectfill\n%%EOF\n"
READERS = [upright_size, read_rgb, read_mask]
MUTATED = ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000"]
ODD = ["DDS", "BLP", "SPIDER", "TGA", "PCX", "SGI"] + (["AVIF"] if features.check("avif") else [])


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))


def encoded(file, kind):
    image = picture()
    image = {"SPIDER": lambda: image.convert("F"), "BLP": lambda: image.convert("P")}.get(kind, lambda: image)()
    stream = io.BytesIO()  # under a name, SPIDER would take over the ending .png for good
    image.save(stream, format=kind)
    file.write_bytes(stream.getvalue())
    return stream.getvalue()


@pytest.mark.parametrize("read", READERS)
def test_postscript_under_an_images_name_starts_no_program(tmp_path, monkeypatch, read):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("a program was started"))
    (tmp_path / "x.png").write_bytes(EPS)
    with pytest.raises(DataError, match=r"x\.png.*it is none of PNG, JPEG"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ODD)
def test_other_formats_need_the_option(tmp_path, monkeypatch, kind):
    file = tmp_path / "x.png"
    encoded(file, kind)
    with pytest.raises(DataError, match=r"x\.png: cannot be read as an image \(it is none of"):
        read_rgb(file)
    if kind == "SPIDER":  # it holds floating-point pixels
        return
    monkeypatch.setenv("ANOMALYBENCH_FORMATS", f"pcd, {kind.lower()}")
    assert read_rgb(file).shape == (32, 40, 3)


def test_a_format_that_pillow_does_not_know_is_refused(tmp_path, monkeypatch):
    picture().save(tmp_path / "x.png")
    monkeypatch.setenv("ANOMALYBENCH_FORMATS", "HEIK")
    with pytest.raises(UsageError, match=r"ANOMALYBENCH_FORMATS.*'HEIK'.*Known: .*PNG"):
        read_rgb(tmp_path / "x.png")


def faulty(read, file):
    """Whether a file cannot be read; any other error, or one that does not name it, is a failure."""
    try:
        read(file)
    except DataError as error:
        return str(file) in str(error) or pytest.fail(str(error))
    return False


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", [*MUTATED, *ODD])
def test_mutated_files_are_read_or_named(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("ANOMALYBENCH_FORMATS", ",".join(ODD))
    rng = np.random.default_rng(0)
    file = tmp_path / "x.png"
    whole = encoded(file, kind)
    named = 0
    for i in range(60):
        content = bytearray(whole[: rng.integers(1, len(whole))] if i % 3 == 0 else whole)
        for place in rng.integers(0, min(len(content), 200 if i % 2 else len(content)), 6):
            content[place] = rng.integers(0, 256)
        file.write_bytes(bytes(content))
        for read in READERS:
            named += faulty(read, file)
    assert named


def test_an_animation_is_its_first_picture(tmp_path):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_rgb(tmp_path / "a.gif") == [10, 0, 0]).all()


def test_a_huge_image_is_refused_by_its_header(tmp_path, monkeypatch):
    file = tmp_path / "huge.png"
    Image.new("1", (13000, 13000)).save(file)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    for read in READERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(DataError, match=r"huge\.png: larger than 100 megapixels.*ANOMALYBENCH_MAX_MEGAPIXELS"):
                read(file)


def test_the_limit_can_be_moved(tmp_path, monkeypatch):
    picture().save(tmp_path / "x.png")
    monkeypatch.setenv("ANOMALYBENCH_MAX_MEGAPIXELS", "0.001")
    with pytest.raises(DataError, match=r"larger than 0\.001 megapixels \(40x32 pixels\)"):
        read_rgb(tmp_path / "x.png")
    monkeypatch.setenv("ANOMALYBENCH_MAX_MEGAPIXELS", "500")
    Image.new("1", (20000, 20000)).save(tmp_path / "large.png")
    assert upright_size(tmp_path / "large.png") == (20000, 20000)


@pytest.mark.parametrize("text", ["0", "-3", "nan", "many"])
def test_a_limit_that_is_none_is_refused(tmp_path, monkeypatch, text):
    picture().save(tmp_path / "x.png")
    monkeypatch.setenv("ANOMALYBENCH_MAX_MEGAPIXELS", text)
    with pytest.raises(UsageError, match="write a positive number"):
        read_rgb(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 漢.png", "plain é 漢.png"),
        ("a\x1b[31mred.png", "a\\x1b[31mred.png"),
        ("two\nlines\r\t.png", "two\\x0alines\\x0d\\x09.png"),
        ("gnp\u202e.exe", "gnp\\u202e.exe"),
        ("\u2028\x7f\x85", "\\u2028\\x7f\\x85"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("\ud800", "\\ud800"),
    ],
)
def test_names_are_shown_so_that_they_can_do_no_harm(name, shown):
    assert printable(name) == shown
    assert printable(name).encode()


def test_a_strangely_named_file_is_named_so_that_it_can_be_printed(tmp_path):
    for name in (os.fsdecode(b"caf\xe9\x1b.png"), "no\0name.png"):
        with pytest.raises(DataError) as error:
            read_rgb(tmp_path / name)
        assert str(error.value).isprintable()
