import numpy as np
import pytest
import torch
from PIL import Image

from anomalybench.bench import localise
from anomalybench.core.dataset import Item
from anomalybench.core.errors import DataError
from anomalybench.evaluate.pixel import resize_map
from anomalybench.evaluate.uncertainty import weights
from anomalybench.vision.images import read_mask

WANTED = np.zeros((6, 8), bool)
WANTED[1:3, 2:5] = True
GREY = WANTED.astype(np.uint8)


def palette(colours):
    image = Image.fromarray(GREY, "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY * 255),
        Image.fromarray(GREY * 200 + 20),
        Image.fromarray(GREY),
        Image.fromarray(WANTED),
        palette([(0, 0, 0), (128, 0, 0)]),
        palette([(0, 0, 0), (1, 1, 1)]),
        Image.fromarray(np.dstack([GREY * 255] * 3 + [np.full_like(GREY, 255)]), "RGBA"),
    ],
    ids=["grey", "jpeg-like", "0 and 1", "1 bit", "palette", "dark palette", "rgba"],
)
def test_masks_of_every_kind_are_read(image, tmp_path):
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), WANTED)


@pytest.mark.parametrize("size", [(31, 50), (7, 7), (3, 20)])
def test_maps_are_resized_as_torch_does(size):
    coarse = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    tensor = torch.from_numpy(coarse)[None, None]
    wanted = torch.nn.functional.interpolate(tensor, size[::-1], mode="bilinear")[0, 0].numpy()
    assert np.allclose(resize_map(coarse, size), wanted, atol=1e-6)


def written(root, name, pixels):
    Image.fromarray(pixels).save(root / name)
    return name


def located(root, items, maps, called):
    return localise.measure(root, items, maps, called, weights([item.path for item in items])).metrics


def test_defects_without_a_mask_are_left_out_and_counted(tmp_path):
    picture = np.zeros((6, 8, 3), np.uint8)
    mask = written(tmp_path, "mask.png", GREY * 255)
    items = [
        Item(written(tmp_path, "0.png", picture), "c", 0),
        Item(written(tmp_path, "1.png", picture), "c", 1, "crack", mask),
        Item(written(tmp_path, "2.png", picture), "c", 1, "crack"),
    ]
    maps = np.stack([np.zeros((6, 8)), WANTED * 1.0, np.full((6, 8), 9.0)]).astype(np.float32)
    found = located(tmp_path, items, maps, np.array([False, True, True]))
    assert found["n_without_mask"] == 1
    assert found["pixel_auroc"] == found["pixel_ap"] == found["pointing_game"] == found["box_iou"] == 1
    missed = located(tmp_path, items, maps, np.array([False, False, True]))
    assert missed["box_iou"] == 0
    assert missed["pixel_auroc"] == 1
    assert located(tmp_path, [items[0], items[2]], maps[:2], np.array([False, True])) == {}


def test_an_empty_mask_of_a_defective_image_marks_nothing(tmp_path):
    picture = written(tmp_path, "0.png", np.zeros((6, 8, 3), np.uint8))
    empty = written(tmp_path, "mask.png", GREY * 0)
    found = located(
        tmp_path, [Item(picture, "c", 1, "crack", empty)], np.zeros((1, 6, 8), np.float32), np.array([True])
    )
    assert found["pixel_auroc"] is None
    assert found["pointing_game"] is None


@pytest.mark.parametrize("name", ["missing.png", "text.png", "nul\0.png", "."])
def test_a_mask_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="cannot be read as a mask"):
        read_mask(tmp_path / name)
