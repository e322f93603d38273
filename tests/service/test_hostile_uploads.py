"""Uploads that mean harm, or are damaged: each one is refused with a 4xx and a text, and the service goes on."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from made_served import encoded, pixels, png
from PIL import Image, PngImagePlugin

BOUNDARY = b"edge"
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")


def form(contents, file=b"x.png", name=b"image"):
    head = b'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: image/png\r\n\r\n' % (name, file)
    return b"--" + BOUNDARY + b"\r\n" + head + contents + b"\r\n--" + BOUNDARY + b"--\r\n"


def send(service, body, kind=b"multipart/form-data; boundary=" + BOUNDARY):
    return service.post("/models/pill/predict", content=body, headers={"content-type": kind})


def chunk(kind, contents):
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png_of(width, height, data=b"", more=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def scans(count):
    """A small progressive JPEG file whose last scan comes many times: each goes over all pixels."""
    plain = encoded(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    last = plain.rfind(b"\xff\xda")
    return plain[:-2] + plain[last:-2] * count + plain[-2:]


def truncated():
    for kind in FORMATS:
        whole = encoded(picture(), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
        for share in (0.03, 0.1, 0.4, 0.7):
            yield f"{kind} cut at {share}", whole[: max(1, int(len(whole) * share))]


def other_kinds():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.png", b"\0" * 30_000_000)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n0 0 10 10 rectfill\n%%EOF\n"
    yield "nothing", b""
    yield "a zip bomb", archive.getvalue()
    yield "SVG", svg
    yield "PostScript", eps
    yield "HTML", b"<html><script>alert(1)</script></html>"
    yield "a program", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "a PDF file", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF"
    yield "an icon", encoded(picture(), "ICO")
    yield "TGA", encoded(picture(), "TGA")
    yield "a pickle", b"cos\nsystem\n(S'true'\ntR."
    yield "floating-point pixels", encoded(Image.new("F", (8, 8)), "TIFF")
    yield "a polyglot of GIF and a zip bomb, cut", encoded(picture(), "GIF")[:100] + archive.getvalue()
    yield "a polyglot of PDF and PNG", b"%PDF-1.4\n" + png(60)
    yield "a polyglot of script and JPEG", b"#!/bin/sh\n" + encoded(picture(), "JPEG")


def bombs():
    yield "60 megapixels", encoded(Image.new("1", (10_000, 6_000)), "PNG")
    for side in (20_000, 2**16, 2**31 - 1):
        yield f"a header of {side} x {side}", png_of(side, side)
    yield "a wide header", png_of(2**31 - 1, 1)
    yield "no width", png_of(0, 10)
    yield (
        "text that grows to 80 MB",
        png_of(4, 4, bytes(52), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000)))),
    )
    yield (
        "a profile that grows to 80 MB, cut",
        png_of(4, 4, b"", chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000)))),
    )
    yield "pixels that are missing", png_of(4000, 4000)
    yield "500 scans", scans(500)
    yield (
        "BMP of 100,000 x 100,000",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, *(10**5,) * 2, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield "PPM of 10^9 pixels", b"P6 100000 10000 255 "
    yield "PPM with a number of 5,000 digits", b"P6 " + b"9" * 5000 + b" 1 255 "
    yield "GIF of 65535 x 65535", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + bytes(9) + b";"
    yield "TIFF that refers to itself", b"II*\0" + struct.pack("<IHHHII", 8, 1, 330, 4, 1, 8) + struct.pack("<I", 8)
    yield "TIFF with a tag of 4 GB", b"II*\0" + struct.pack("<IHHHII", 8, 1, 270, 2, 2**32 - 1, 8) + bytes(4)
    yield (
        "JPEG of 65500 x 65500",
        encoded(Image.new("L", (16, 16)), "JPEG").replace(b"\x00\x10\x00\x10\x01", b"\xff\xdc\xff\xdc\x01"),
    )


def random_bytes():
    rng = np.random.default_rng(7)
    starts = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"MM\0*", b"BM"]
    starts += [b"RIFF\x40\0\0\0WEBP", b"P6 ", b"\0\0\0\x0cjP  \r\n\x87\n"]
    for start in starts:
        for number in range(11):
            yield f"{start!r} and random bytes {number}", start + rng.bytes(int(rng.integers(1, 3000)))


IMAGES = dict([*truncated(), *other_kinds(), *bombs(), *random_bytes()])

FORMS = {
    "nothing": b"",
    "no boundary inside": b"x" * 1000,
    "cut in a header": form(png(60))[:60],
    "cut in the image": form(png(60))[:150],
    "without its last boundary": form(png(60)).rpartition(b"\r\n--")[0],
    "only the last boundary": b"--edge--\r\n",
    "another boundary": form(png(60)).replace(b"--edge", b"--other"),
    "a part without a name": form(png(60)).replace(b'name="image"; ', b""),
    "a part without headers": b"--edge\r\n\r\nx\r\n--edge--\r\n",
    "a header of 100 kB": form(png(60)).replace(b"image/png", b"x" * 100_000),
    "1,000 headers": form(png(60)).replace(b"Content-Type", b"X: y\r\n" * 1000 + b"Content-Type"),
    "a header without a colon": form(png(60)).replace(b"Content-Type: ", b"Content-Type "),
    "a header with a NUL": form(png(60)).replace(b"Content-Type", b"Content\0Type"),
    "another field": form(png(60), name=b"../image"),
    "10,000 parts": b"".join(form(b"x", name=b"part")[:-10] for _ in range(10_000)) + b"\r\n--edge--\r\n",
    "50 images": b"".join(form(png(60)).removesuffix(b"--edge--\r\n") for _ in range(50)) + b"--edge--\r\n",
    "a name of 3,000 letters": form(png(60), file=b"x" * 3000),
    "a path, damaged": form(png(60)[:50], file=b"../../../../etc/passwd"),
    "a path of NULs, damaged": form(png(60)[:50], file=b"\0/x\0.png"),
    "a name that is not UTF-8, damaged": form(png(60)[:50], file=b"\xff\xfe.png"),
    "an escape sequence, damaged": form(png(60)[:50], file=b"\x1b[31m.png"),
    "JSON": json.dumps({"image": "x"}).encode(),
    "an urlencoded form": b"image=x",
}
KINDS = [
    "",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary="',
    "multipart/mixed; boundary=edge",
    "multipart/form-data; boundary=" + "x" * 400,
    "application/x-www-form-urlencoded",
    "image/png",
    "\\",
    "multipart/form-data;;;=;",
    "multipart/form-data; charset=\\; boundary*=utf-8''edge",
    "application/json; boundary=edge",
]


def refused(response, status=None):
    assert 400 <= response.status_code < 500, (response.status_code, response.text[:300])
    assert status is None or response.status_code == status, response.text
    (text,) = response.json().values()
    assert 10 < len(text) < 2500
    assert "Traceback" not in text
    return text


def test_there_are_200_of_them():
    assert len(IMAGES) + len(FORMS) + len(KINDS) >= 200


def test_every_image_is_refused_and_the_service_goes_on(service):
    for name, contents in IMAGES.items():
        response = send(service, form(contents))
        try:
            text = refused(response)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
        assert response.status_code in (413, 415, 422), name
        assert text.startswith("x.png: "), name
    assert service.predict(60).json()[0]["score"] == 60
    assert service.get("/health/ready").json()["queue"] == 0


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_refused(service, name):
    text = refused(send(service, FORMS[name]))
    assert text.isprintable()
    assert service.predict(60).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_every_content_type_is_refused(service, kind):
    refused(send(service, form(png(60)), kind))


def test_what_looks_odd_and_is_an_image_is_judged(service):
    more = PngImagePlugin.PngInfo()
    more.add_text("comment", "<script>alert(1)</script>")
    odd = {
        "a polyglot of GIF and script": encoded(Image.fromarray(pixels(60)), "GIF") + b"\n<script>alert(1)</script>",
        "text inside": encoded(Image.fromarray(pixels(60)), "PNG", pnginfo=more),
        "a palette with transparency": encoded(Image.new("P", (8, 8)), "PNG", transparency=0),
        "one bit": encoded(Image.new("1", (8, 8)), "PNG"),
        "CMYK": encoded(Image.new("CMYK", (8, 8)), "JPEG"),
        "many scans": scans(20),
    }
    for name, contents in odd.items():
        assert send(service, form(contents)).status_code == 200, name
