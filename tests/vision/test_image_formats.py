"""Every kind of image file: read as RGB with the right values, or refused by name; and images that are not enough."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomalybench.core.dataset import Item
from anomalybench.core.errors import DataError
from anomalybench.vision.file_checks import check_files
from anomalybench.vision.images import read_mask, read_rgb

ORIENTATION = 0x0112
RED, GREEN, GREY = (255, 0, 0), (0, 200, 30), (90, 90, 90)
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def tile(*colours):
    """One row of pixels."""
    return np.array([colours], np.uint8)


def palette(transparency=None):
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *GREY])
    image.putdata([0, 1, 2])
    return image, {} if transparency is None else {"transparency": transparency}


def rgba():
    return Image.fromarray(np.array([[(*RED, 255), (*GREEN, 0), (*GREY, 128)]], np.uint8))


def sixteen(dtype="<u2"):
    return Image.fromarray(np.array([[0, 200 * 257, 65535]], dtype))


BLACK_TO_WHITE = tile((0, 0, 0), (200, 200, 200), (255, 255, 255))
COLOURS = tile(RED, GREEN, GREY)
CASES = {
    "rgb.png": (Image.fromarray(COLOURS), {}, COLOURS),
    "rgb.bmp": (Image.fromarray(COLOURS), {}, COLOURS),
    "rgb.tiff": (Image.fromarray(COLOURS), {}, COLOURS),
    "rgb.webp": (Image.fromarray(COLOURS), {"lossless": True}, COLOURS),
    "grey.png": (Image.fromarray(np.array([[0, 200, 255]], np.uint8)), {}, BLACK_TO_WHITE),
    "grey_alpha.png": (Image.fromarray(np.array([[0, 200, 255]], np.uint8)).convert("LA"), {}, BLACK_TO_WHITE),
    "rgba.png": (rgba(), {}, COLOURS),
    "palette.png": (*palette(), COLOURS),
    "palette_one_transparent.png": (*palette(transparency=1), COLOURS),
    "palette_alpha.png": (*palette(transparency=b"\xff\x00\x80"), COLOURS),
    "palette.gif": (*palette(), COLOURS),
    "palette_transparent.gif": (*palette(transparency=1), COLOURS),
    "one_bit.png": (Image.fromarray(np.array([[True, False]])), {}, tile((255,) * 3, (0,) * 3)),
    "sixteen_bit.png": (sixteen(), {}, BLACK_TO_WHITE),
    "sixteen_bit.tiff": (sixteen(), {}, BLACK_TO_WHITE),
    "sixteen_bit_big_endian.tiff": (sixteen(">u2"), {}, BLACK_TO_WHITE),
    "cmyk.tiff": (
        Image.fromarray(np.array([[(0, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0)]], np.uint8), mode="CMYK"),
        {},
        tile(RED, (0, 0, 0), (255, 255, 255)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_becomes_rgb_with_the_right_values(tmp_path, name):
    image, options, wanted = CASES[name]
    file = tmp_path / name
    image.save(file, **options)
    pixels = read_rgb(file)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("ink", "colour"), [((0, 255, 255, 0), RED), ((0, 0, 0, 0), (255,) * 3), ((0, 0, 0, 255), (0,) * 3)]
)
def test_cmyk_jpeg_is_not_inverted(tmp_path, ink, colour):
    Image.new("CMYK", (16, 16), ink).save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read_rgb(tmp_path / "print.jpg").astype(int) - colour).max() <= 3


@pytest.mark.parametrize("ending", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_turned_image_is_put_upright_and_its_mask_fits(tmp_path, orientation, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    upright = TURNED[orientation](pixels)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image, mask = f"turned.{ending}", "mask.png"
    Image.fromarray(pixels).save(tmp_path / image, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    Image.fromarray(np.zeros(upright.shape[:2], np.uint8)).save(tmp_path / mask)
    assert np.array_equal(read_rgb(tmp_path / image), upright)
    check_files(tmp_path, [Item(image, "any", 1, "scratch", mask=mask)])


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "I;16"])
def test_masks_of_any_kind_are_cut_at_half_of_the_range(tmp_path, mode):
    top = 65535 if mode == "I;16" else 255
    white = Image.fromarray(np.array([[0, top]], np.uint16 if top > 255 else np.uint8))
    (white if top > 255 else white.convert(mode)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, True]]


def make_folder(root, image, name):
    """Twelve good and twelve defective images, one of them being `image`."""
    for i in range(12):
        for kind, value in (("good", 100 + i), ("scratched", 200 + i)):
            (root / kind).mkdir(exist_ok=True, parents=True)
            Image.fromarray(np.full((8, 8), value, np.uint8)).save(root / kind / f"{i:02d}.png")
    image.save(root / "good" / name)


def test_a_folder_of_mixed_formats_runs(acme, cli, tmp_path):
    folder = tmp_path / "images"
    make_folder(folder, Image.fromarray(np.full((8, 8), 105, np.uint8)), "rgb.png")
    for name, (image, options, _) in CASES.items():
        image.resize((8, 8)).save(folder / "scratched" / name, **options)
    results = tmp_path / "results"
    options = ["--data", folder, "--name", "mine", "--results", results, "--protocol", "kfold", "--set", "kfold.k=2"]
    result = cli("run", "--no-floors", "--methods", "brightest", "--dataset", "folder", *options)
    assert result.exit_code == 0, result.text
    jobs = by_category(results)
    assert jobs["n_test"].sum() == 12 + 1 + 12 + len(CASES)


def test_a_float_tiff_is_refused_by_name(acme, cli, tmp_path):
    image = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    make_folder(tmp_path, image, "measured.tiff")
    with pytest.raises(DataError, match=r"measured\.tiff: floating-point"):
        read_rgb(tmp_path / "good" / "measured.tiff")
    options = ["--dataset", "folder", "--data", tmp_path, "--results", tmp_path / "results"]
    result = cli("run", "--methods", "brightest", *options)
    assert result.exit_code == 2
    assert "measured.tiff: floating-point pixels" in result.text
    assert "Save it with 8 or 16 bits" in result.text
    assert "Traceback" not in result.text


def draw_noise(file):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def on(images, method="brightest", category="bolt,nut"):
    what = ["--dataset", "mvtec_ad", "--methods", method, "--categories", category, "--data", images]
    return [*what, "--no-floors", "--name", "mine"]


def by_category(results):
    return pd.read_csv(results / "leaderboards" / "mine_by_category.csv")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty (0 bytes). Replace or remove it."), (b"not an image", "cannot be read as an image")],
)
@pytest.mark.parametrize("name", ["test/good/12.png", "ground_truth/scratch/03_mask.png"])
def test_a_file_that_is_no_image_is_named_before_anything_runs(run, images, tmp_path, name, content, reason):
    (images / "nut" / name).write_bytes(content)
    run(*on(images)).assert_refused(images / "nut" / name, reason)
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_image_is_named(run, images, ending):
    file = draw_noise(images / "nut" / "test" / "scratch" / f"cut.{ending}")
    file.write_bytes(file.read_bytes()[:-1000])
    run(*on(images), "--protocol", "standard").assert_refused(file, "Replace or remove it")


def test_an_image_that_only_decoding_shows_to_be_broken_costs_no_other_job(run, images, tmp_path):
    file = draw_noise(images / "nut" / "test" / "scratch" / "cut.jpg")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1000])
    run(*on(images), "--protocol", "standard").assert_refused(file)
    jobs = by_category(tmp_path / "results").set_index("category")
    assert jobs["status"].to_dict() == {"bolt": "ok", "nut": "failed"}
    assert str(file) in jobs["error"]["nut"]
    file.write_bytes(whole)
    mended = run(*on(images), "--protocol", "standard")
    assert mended.exit_code == 0
    assert mended.text.count("done before") == 1


def test_a_mask_of_another_size_is_refused(run, images):
    mask = images / "nut" / "ground_truth" / "scratch" / "02_mask.png"
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(mask)
    run(*on(images)).assert_refused(mask, "8x4", "nut/test/scratch/02.png is 8x8")


def test_normal_images_alone_give_a_threshold_and_no_metric_that_needs_defects(run, images, tmp_path):
    for file in (images / "bolt" / "test" / "scratch").iterdir():
        file.unlink()
    result = run(*on(images, "brightest,cam", "bolt"))
    assert result.exit_code == 0, result.text
    jobs = by_category(tmp_path / "results").set_index("method")
    assert jobs["status"].to_dict() == {"brightest": "ok", "cam": "skipped"}
    assert jobs["threshold_rule"]["brightest"].startswith("normal_quantile")
    assert pd.isna(jobs["auroc"]["brightest"])
    assert "the train part has no anomalous images" in jobs["error"]["cam"]


def test_a_method_that_needs_labels_says_so_where_train_has_no_defects(run, images):
    for file in sorted((images / "bolt" / "test" / "scratch").iterdir())[1:]:
        file.unlink()
    folds = ["--protocol", "kfold", "--set", "kfold.k=2"]
    result = run(*on(images, "cam", "bolt"), *folds)
    result.assert_refused("mvtec_ad/bolt", "cam learns from labels", "take a method that needs none")


def test_a_method_that_needs_labels_is_skipped_under_standard(run, images, tmp_path):
    result = run(*on(images, "brightest,cam", "bolt"), "--protocol", "standard")
    assert result.exit_code == 0
    jobs = by_category(tmp_path / "results").set_index("method")
    assert jobs["status"].to_dict() == {"brightest": "ok", "cam": "skipped"}
    assert "learns from labels" in jobs["error"]["cam"]


def test_anomalous_images_alone_are_not_enough(run, images):
    for file in (images / "nut").rglob("good/*.png"):
        file.unlink()
    run(*on(images)).assert_refused("mvtec_ad/nut", "no normal images")
