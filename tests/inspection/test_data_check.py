import json
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from anomalybench.core.dataset import Dataset, Item
from anomalybench.core.errors import UsageError
from anomalybench.inspection.data_check import check, to_json
from anomalybench.vision.images import read_rgb

SIDE = 64


@dataclass(frozen=True, kw_only=True)
class Listed(Dataset):
    """Whatever items a test lists."""

    source: ClassVar[str] = "made by the test"
    given: tuple[Item, ...] = field(default=())

    def categories(self, root: Path) -> list[str]:
        return ["bolt"]

    def items(self, root: Path, category: str) -> list[Item]:
        return list(self.given)


def picture(seed, side=SIDE):
    """A picture like no other."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side))
    smooth = ndimage.gaussian_filter(noise, side / 64)
    grey = np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return np.dstack([grey, grey, 255 - grey])


def save(root, path, pixels):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(root / path)
    return path


@pytest.fixture
def items(tmp_path):
    """Twelve good images and four cracked ones with masks, all faultless."""
    found = [Item(save(tmp_path, f"good/{i:02d}.png", picture(i)), "bolt", 0, split="train") for i in range(12)]
    for i in range(4):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[5:9, 5:9] = 255
        path = save(tmp_path, f"crack/{i:02d}.png", picture(100 + i))
        found.append(Item(path, "bolt", 1, "crack", save(tmp_path, f"masks/{i:02d}.png", mask), split="test"))
    return found


def run(root, items, **options):
    return check(Listed(given=tuple(items), **options), root, "bolt")


def kinds(report):
    return [(finding.kind, finding.severity, finding.paths) for finding in report.findings]


def only(report):
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


def test_faultless_images_give_no_finding(tmp_path, items):
    report = run(tmp_path, items)
    assert report.findings == ()
    assert not report.leaks
    assert not report.errors
    assert report.n_images == 16
    assert report.sizes == {"64x64": 16}
    assert report.modes == {"RGB": 16}
    counts = [(c.split, c.label, c.defect, c.images, c.masks) for c in report.balance]
    assert counts == [("test", 1, "crack", 4, 4), ("train", 0, "good", 12, 0)]


def test_an_unknown_category_is_refused(tmp_path, items):
    with pytest.raises(UsageError, match="bolt"):
        check(Listed(given=tuple(items)), tmp_path, "bold")


def test_all_files_that_cannot_be_read_are_listed(tmp_path, items):
    (tmp_path / "good/00.png").unlink()
    (tmp_path / "good/01.png").write_bytes(b"")
    (tmp_path / "good/02.png").write_bytes(b"no image at all")
    whole = (tmp_path / "good/03.png").read_bytes()
    (tmp_path / "good/03.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(picture(4)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "good/04.png").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "good/05.png").unlink()
    (tmp_path / "good/05.png").mkdir()
    (tmp_path / "masks/00.png").unlink()
    (tmp_path / "masks/01.png").write_bytes(b"no mask")
    report = run(tmp_path, items)
    paths = [f"good/0{i}.png" for i in range(6)] + ["masks/00.png", "masks/01.png"]
    broken = [finding for finding in report.findings if finding.kind == "unreadable"]
    assert [finding.paths for finding in broken] == [(path,) for path in paths]
    assert all(finding.severity == "error" and "Replace or remove it." in finding.detail for finding in broken)
    assert "does not exist" in broken[0].detail
    assert "0 bytes" in broken[1].detail
    assert "does not exist" in broken[6].detail
    assert report.errors
    assert not report.leaks
    assert report.n_images == 16
    assert sum(report.sizes.values()) == 10


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_the_same_picture_twice_is_an_exact_duplicate(tmp_path, items, suffix):
    copy = f"good/copy.{suffix}"
    if suffix == "png":
        (tmp_path / copy).write_bytes((tmp_path / "good/03.png").read_bytes())
    else:
        save(tmp_path, copy, picture(3))
    report = run(tmp_path, [*items, Item(copy, "bolt", 0, split="test")])
    finding = only(report)
    assert (finding.kind, finding.severity) == ("exact_duplicate", "leak")
    assert finding.paths == ("good/03.png", copy)
    assert ("byte for byte" if suffix == "png" else "pixel by pixel") in finding.detail
    assert "in test and train, 2 good" in finding.detail
    assert "--group-by" not in finding.detail
    assert report.leaks


def test_one_cluster_is_one_finding(tmp_path, items):
    """Two exact copies and a re-encoded one of the same picture."""
    save(tmp_path, "good/a.bmp", picture(3))
    Image.fromarray(picture(3)).save(tmp_path / "good/b.jpg", quality=80)
    more = [Item(path, "bolt", 0, split="train") for path in ("good/a.bmp", "good/b.jpg")]
    finding = only(run(tmp_path, [*items, *more]))
    assert (finding.kind, finding.severity) == ("near_duplicate", "leak")
    assert finding.paths == ("good/03.png", "good/a.bmp", "good/b.jpg")
    assert "within train, 3 good" in finding.detail
    assert "--group-by" in finding.detail


def test_two_clusters_are_two_findings(tmp_path, items):
    save(tmp_path, "good/00.bmp", picture(0))
    Image.fromarray(picture(9)).save(tmp_path / "good/b.jpg", quality=80)
    more = [Item(path, "bolt", 0, split="train") for path in ("good/00.bmp", "good/b.jpg")]
    assert kinds(run(tmp_path, [*items, *more])) == [
        ("exact_duplicate", "leak", ("good/00.bmp", "good/00.png")),
        ("near_duplicate", "leak", ("good/09.png", "good/b.jpg")),
    ]


def test_the_same_pixels_in_another_shape_are_another_picture(tmp_path, items):
    save(tmp_path, "good/00.png", picture(0))
    save(tmp_path, "good/01.png", picture(0).reshape(SIDE // 2, SIDE * 2, 3))
    assert [kind for kind, _, _ in kinds(run(tmp_path, items))] == ["mixed_sizes"]


@pytest.mark.parametrize("exact", [True, False])
def test_duplicates_whose_labels_contradict(tmp_path, items, exact):
    if exact:
        save(tmp_path, "crack/copy.png", picture(3))
    else:
        Image.fromarray(picture(3)).save(tmp_path / "crack/copy.png", format="JPEG", quality=85)
    report = run(tmp_path, [*items, replace(items[-1], path="crack/copy.png")])
    finding = only(report)
    assert (finding.kind, finding.severity) == ("contradiction", "leak")
    assert finding.paths == ("crack/copy.png", "good/03.png")
    assert "1 crack, 1 good" in finding.detail
    assert ("before and after" in finding.detail) is not exact
    assert report.leaks


def test_shots_in_one_group_are_no_leak(tmp_path, items):
    Image.fromarray(picture(3)).save(tmp_path / "good/b.jpg", quality=80)
    shot = Item("good/b.jpg", "bolt", 0, group="x", split="test")
    tied = [replace(item, group="x") if item.path == "good/03.png" else item for item in items]
    assert run(tmp_path, [*tied, shot]).findings == ()
    assert run(tmp_path, [*items, shot]).leaks
    assert run(tmp_path, [*tied, replace(shot, group="y")]).leaks
    defective = replace(shot, label=1, defect="crack", mask=items[-1].mask)
    assert run(tmp_path, [*tied, defective]).findings == ()


def test_an_exact_copy_within_a_group_is_no_leak(tmp_path, items):
    save(tmp_path, "good/a.bmp", picture(3))
    copy = Item("good/a.bmp", "bolt", 0, group="x")
    tied = [replace(item, group="x") if item.path == "good/03.png" else item for item in items]
    assert kinds(run(tmp_path, [*tied, copy])) == [("exact_duplicate", "remark", ("good/03.png", "good/a.bmp"))]
    defective = replace(copy, label=1, defect="crack", mask=items[-1].mask)
    assert kinds(run(tmp_path, [*tied, defective])) == [("contradiction", "error", ("good/03.png", "good/a.bmp"))]


def test_masks_that_do_not_fit(tmp_path, items):
    save(tmp_path, "masks/00.png", np.zeros((SIDE, SIDE), np.uint8))
    save(tmp_path, "masks/01.png", np.full((SIDE, 32), 255, np.uint8))
    full, empty = np.full((SIDE, SIDE), 255, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    items[0] = replace(items[0], mask=save(tmp_path, "masks/good.png", full))
    items[1] = replace(items[1], mask=save(tmp_path, "masks/fine.png", empty))
    items[-1] = replace(items[-1], mask=None)
    assert kinds(run(tmp_path, items)) == [
        ("empty_mask", "error", ("crack/00.png",)),
        ("mask_disagrees", "error", ("good/00.png",)),
        ("mask_size", "error", ("crack/01.png",)),
        ("no_mask", "remark", ("crack/03.png",)),
    ]


def test_no_mask_at_all_is_no_finding(tmp_path, items):
    assert run(tmp_path, [replace(item, mask=None) for item in items]).findings == ()


def test_other_sizes_and_modes_are_remarked_on(tmp_path, items):
    save(tmp_path, "good/00.png", picture(0, side=80))
    save(tmp_path, "good/01.png", picture(1)[..., 0])
    report = run(tmp_path, items)
    assert kinds(report) == [
        ("mixed_modes", "remark", ("good/01.png",)),
        ("mixed_sizes", "remark", ("good/00.png",)),
    ]
    assert list(report.sizes.items()) == [("64x64", 15), ("80x80", 1)]
    assert list(report.modes.items()) == [("RGB", 15), ("L", 1)]
    assert not report.errors


def test_images_of_one_colour_are_remarked_on_and_not_compared(tmp_path, items):
    for i in (0, 1):
        save(tmp_path, f"good/0{i}.png", np.full((SIDE, SIDE, 3), 50 + i, np.uint8))
    assert kinds(run(tmp_path, items)) == [("blank", "remark", ("good/00.png", "good/01.png"))]
    few = [kind for kind, _, _ in kinds(run(tmp_path, items[:12]))]
    assert few == ["blank", "too_few"]


def test_what_is_listed_twice_missing_or_too_little(tmp_path, items):
    assert kinds(run(tmp_path, [*items, items[0]])) == [("listed_twice", "error", ("good/00.png",))]
    assert kinds(run(tmp_path, [])) == [("no_images", "error", ())]
    assert kinds(run(tmp_path, items[-4:])) == [("no_normal", "error", ()), ("too_few", "remark", ())]


def test_the_listed_are_thinned_out_as_when_loaded(tmp_path, items):
    plugin = Listed(given=tuple(items), max_normal=5, max_anomalous=2)
    (tmp_path / "good/00.png").write_bytes((tmp_path / "good/01.png").read_bytes())
    kept = {item.path for item in plugin.load(tmp_path, "bolt")}
    report = check(plugin, tmp_path, "bolt")
    assert report.n_images == len(kept) == 7
    assert report.leaks is ({"good/00.png", "good/01.png"} <= kept)


def test_the_order_of_the_files_plays_no_part(tmp_path, items):
    Image.fromarray(picture(3)).save(tmp_path / "good/b.jpg", quality=80)
    save(tmp_path, "good/00.png", picture(5))
    (tmp_path / "good/08.png").write_bytes(b"")
    items.append(Item("good/b.jpg", "bolt", 0, split="test"))
    reports = [run(tmp_path, [items[i] for i in np.random.default_rng(seed).permutation(17)]) for seed in range(4)]
    assert len(reports[0].findings) == 3
    assert all(report == reports[0] for report in reports)


def test_reports_as_json(tmp_path, items):
    save(tmp_path, "good/00.png", picture(5))
    leaking, clean = run(tmp_path, items), replace(run(tmp_path, items[6:]), category="nut")
    written = json.dumps(to_json([clean, leaking]))
    assert written == json.dumps(to_json([leaking, clean]))
    read = json.loads(written)
    assert read["leaks"] is True
    assert [entry["category"] for entry in read["categories"]] == ["bolt", "nut"]
    assert read["categories"][0]["findings"][0]["paths"] == ["good/00.png", "good/05.png"]
    assert read["categories"][0]["balance"][0]["defect"] == "crack"
    assert to_json([clean])["leaks"] is False


def test_the_range_of_16_bit_files_is_told_and_used(tmp_path, items):
    """Mono10 pictures: a copy is found among them as among others."""
    for item in items:
        grey = picture(int(item.path[-6:-4]) + 100 * item.label)[..., 0].astype(np.uint16) * 4
        save(tmp_path, item.path, np.clip(grey, 0, 1000))
    finding = only(run(tmp_path, items))
    assert (finding.kind, finding.severity, len(finding.paths)) == ("bits", "remark", 16)
    assert "16 16-bit files use 10 bits (0 to " in finding.detail
    for item in items:
        save(tmp_path, item.path, np.asarray(Image.open(tmp_path / item.path)) * 64)
    assert run(tmp_path, items).findings == ()


def test_colour_of_16_bits_is_remarked_on(tmp_path, items):
    """Pillow cannot write such a file: a PNG file by hand."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    deep = (picture(0).astype(np.uint16) * 4).astype(">u2")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in deep)))
    (tmp_path / "good/00.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b""))
    assert read_rgb(tmp_path / "good/00.png").max() <= 3
    assert kinds(run(tmp_path, items)) == [("deep_colour", "remark", ("good/00.png",))]
