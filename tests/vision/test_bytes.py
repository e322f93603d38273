"""Images from memory, as a service gets them, are read as those in files, with a limit of the caller's own."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalybench.core.errors import DataError
from anomalybench.vision.decoding import ImageFormatError, ImageSizeError
from anomalybench.vision.images import decode_rgb, read_rgb


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(mode="RGB"):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")]
    + [("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("1", "TIFF")],
)
def test_bytes_are_read_as_the_file(tmp_path, mode, kind):
    contents = encoded(picture(mode), kind)
    (tmp_path / "x").write_bytes(contents)
    assert np.array_equal(decode_rgb(contents, "x", 16, 1.0), read_rgb(tmp_path / "x"))


def test_a_turned_image_and_16_bits_are_read_as_the_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32))
    for contents in (encoded(picture(), "JPEG", exif=exif), encoded(deep, "PNG")):
        (tmp_path / "x").write_bytes(contents)
        assert np.array_equal(decode_rgb(contents, "x", 10, 1.0), read_rgb(tmp_path / "x", 10))


def test_the_limit_is_the_callers(monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_MAX_MEGAPIXELS", "0.0001")
    contents = encoded(picture(), "PNG")
    assert decode_rgb(contents, "x", 16, 0.00128).shape == (32, 40, 3)
    with pytest.raises(ImageSizeError, match=r"x\.png: larger than 0\.00127 megapixels.*--max-megapixels"):
        decode_rgb(contents, "x.png", 16, 0.00127)


@pytest.mark.parametrize(
    ("contents", "kind"),
    [(b"text", ImageFormatError), (b"", ImageFormatError), (encoded(picture(), "PNG")[:99], DataError)],
)
def test_errors_name_the_image_and_never_open_its_name(tmp_path, contents, kind):
    real = tmp_path / "real.png"
    picture().save(real)
    with pytest.raises(DataError, match="cannot be read as an image") as caught:
        decode_rgb(contents, str(real), 16, 1.0)
    assert type(caught.value) is kind
    assert Path(str(caught.value).partition(":")[0]) == real
