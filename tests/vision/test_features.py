"""The feature store: same numbers with and without it, and nothing that befalls its files reaches the results."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from anomalybench.vision import features, images
from anomalybench.vision.backbones import Backbone
from anomalybench.vision.features import FeatureStore, Frozen
from anomalybench.vision.inference import Tapped

SIZE = 32


class Pictures(list):
    """Decoded images with content hashes that count how often one is looked at."""

    def __init__(self, n, seed=0):
        super().__init__(np.random.default_rng(seed).integers(0, 256, (n, 20, 30, 3), dtype=np.uint8))
        self.hashes = [f"image-{seed}-{i}" for i in range(n)]
        self.seen = 0

    def __getitem__(self, index):
        if isinstance(index, int):
            self.seen += 1
            return super().__getitem__(index)
        part = Pictures(0)
        part.extend(list.__getitem__(self, i) for i in index)
        part.hashes = [self.hashes[i] for i in index]
        return part


def backbone(seed=0, gain=1.0, mean=0.5):
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
    layers = nn.Sequential(first, nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())).eval().requires_grad_(False)
    layers[0][0].weight *= gain
    return Backbone(layers, (2, 4), (4, 6), (mean,) * 3, (0.25,) * 3, nn.Identity(), 6)


def frozen(store=None, ends=(1, 2), size=SIZE, net=None, **options):
    return Frozen(net or backbone(), ends, size, "cpu", store, **options)


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def entries(folder):
    return sorted(file for file in folder.glob("*/*") if file.suffix != ".json")


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


def test_same_features_with_and_without_a_store_and_from_a_warm_one(store):
    pictures = Pictures(20)
    without, cold = frozen()(pictures), frozen(store)(pictures)
    warm = frozen(FeatureStore(store.folder))(pictures)
    assert same(without, cold)
    assert same(without, warm)
    assert [tuple(layer.shape) for layer in warm] == [(20, 4, 16, 16), (20, 6, 8, 8)]
    assert all(layer.dtype == torch.float32 for layer in warm)


def test_features_are_the_plain_network_s_to_half_precision(store):
    pictures, net = Pictures(3), backbone()
    with torch.no_grad():
        plain = Tapped(net.layers, [1, 2])(net.normalise(images.stack(pictures, SIZE)))
    for ours, theirs in zip(frozen(store)(pictures), plain, strict=True):
        assert theirs.abs().max() > 0.1
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        assert torch.equal(ours, ours.half().float())


def test_what_is_stored_is_not_decoded_again(store):
    pictures = Pictures(5)
    frozen(store)(pictures)
    assert (pictures.seen, len(entries(store.folder))) == (5, 5)
    frozen(store)(pictures)
    frozen(FeatureStore(store.folder))(pictures)
    assert pictures.seen == 5


def test_images_without_hashes_are_computed_and_not_stored(store):
    pictures = Pictures(3)
    expected = frozen()(pictures)
    assert same(frozen(store)(list(pictures)), expected)
    pictures.hashes = None
    assert same(frozen(store)(pictures), expected)
    assert not store.folder.exists()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "odd", "empty", "longer", "a folder"])
def test_a_damaged_entry_is_computed_again_and_replaced(store, damage):
    pictures = Pictures(3)
    expected = frozen(store)(pictures)
    file = entries(store.folder)[1]
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    bad = {"flipped": bytes(flipped), "truncated": good[:-2], "odd": good[:-1], "empty": b"", "longer": good + b"00"}
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    else:
        file.write_bytes(bad[damage])
    assert same(frozen(store)(pictures), expected)
    assert pictures.seen == 4
    assert damage == "a folder" or file.read_bytes() == good


def test_a_disk_that_is_full_ends_the_writing_and_not_the_run(store, monkeypatch):
    pictures, expected = Pictures(20), frozen()(Pictures(20))
    write, calls = features.write_aside, []

    def full(file, **options):
        calls.append(file)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, **options)

    monkeypatch.setattr(features, "write_aside", full)
    assert same(frozen(store)(pictures), expected)
    assert "No space left" in store.trouble
    assert str(store.folder) in store.trouble
    assert (len(calls), len(entries(store.folder))) == (3, 2)
    assert same(frozen(store)(pictures), expected)
    assert pictures.seen == 20 + 18


def test_a_read_only_store_is_still_read(store, monkeypatch):
    pictures = Pictures(3)
    expected = frozen(store)(pictures)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(features.os, "utime", refuse)
    monkeypatch.setattr(features, "write_aside", refuse)
    later = FeatureStore(store.folder)
    assert same(frozen(later)(pictures), expected)
    assert (pictures.seen, later.trouble) == (3, None)
    frozen(later)(Pictures(1, seed=1))
    assert "Read-only" in later.trouble


def test_no_folder_can_be_made(tmp_path):
    (tmp_path / "features").write_text("a file")
    store = FeatureStore(tmp_path / "features")
    assert same(frozen(store)(Pictures(2)), frozen()(Pictures(2)))
    assert store.trouble is not None


def test_least_recently_used_goes_first_and_the_total_stays_under_the_limit(store):
    pictures = Pictures(10)
    frozen(store)(pictures)
    for age, name in enumerate(pictures.hashes):
        (file,) = store.folder.glob(f"*/{name}")
        os.utime(file, (1000 + age, 1000 + age))
    size = file.stat().st_size
    limited = FeatureStore(store.folder, 11 * size - 1)
    frozen(limited)(pictures[[0]])
    frozen(limited)(Pictures(1, seed=1))
    left = {file.name for file in entries(store.folder)}
    assert sum(file.stat().st_size for file in entries(store.folder)) <= limited.limit
    assert {"image-0-0", "image-0-9", "image-1-0"} <= left
    assert "image-0-1" not in left
    for seed in range(2, 6):
        frozen(limited)(Pictures(7, seed=seed))
        assert sum(file.stat().st_size for file in entries(store.folder)) <= limited.limit
    assert len(entries(store.folder)) >= 8


def test_a_limit_that_holds_nothing_changes_no_result(tmp_path):
    store = FeatureStore(tmp_path / "features", 10)
    assert same(frozen(store)(Pictures(4)), frozen()(Pictures(4)))
    assert entries(store.folder) == []
    assert store.trouble is None


@pytest.mark.parametrize(
    "other",
    [
        {"net": backbone(seed=1)},
        {"net": backbone(mean=0.4)},
        {"ends": (2,)},
        {"size": 48},
        {"normalise": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_entries_differ_by_all_that_determines_them(store, other):
    frozen(store)(Pictures(2))
    pictures = Pictures(2)
    assert same(frozen(store, **other)(pictures), frozen(**other)(pictures))
    assert pictures.seen == 4
    assert len(entries(store.folder)) == 4


def test_entries_differ_by_image_content(store):
    frozen(store)(Pictures(2))
    other = Pictures(2, seed=1)
    assert same(frozen(store)(other), frozen()(other))
    assert not same(frozen(store)(other), frozen(store)(Pictures(2)))


def test_order_and_share_of_hits_do_not_matter(store):
    pictures = Pictures(37)
    expected = frozen()(pictures)
    frozen(store)(pictures[[30, 4, 17, 5]])
    order = list(np.random.default_rng(0).permutation(37))
    mixed = frozen(store)(pictures[order])
    assert same(mixed, [layer[order] for layer in expected])
    assert same(frozen(store)(pictures[order[::-1]]), [layer[order[::-1]] for layer in expected])


def test_saved_seconds_grow_by_what_reading_saved(store):
    frozen(store)(Pictures(4))
    assert store.saved_s == 0
    frozen(store)(Pictures(4))
    once = store.saved_s
    assert once > 0
    frozen(store)(Pictures(4))
    assert store.saved_s == pytest.approx(2 * once)
    later = FeatureStore(store.folder)
    frozen(later)(Pictures(4))
    assert later.saved_s == pytest.approx(once)


def test_values_beyond_half_precision_are_clamped(store):
    loud = backbone(gain=1e7)
    for found in (frozen(net=loud)(Pictures(2)), frozen(store, net=loud)(Pictures(2))):
        assert torch.isfinite(found[0]).all()
        assert found[0].max() == np.finfo(np.float16).max


def test_two_stores_on_one_folder_do_no_harm(tmp_path):
    pictures = [Pictures(8, seed=seed) for seed in range(4)]
    expected = [frozen()(part) for part in pictures]
    frozen(FeatureStore(tmp_path))(pictures[0][[0]])
    size = entries(tmp_path)[0].stat().st_size
    both = [FeatureStore(tmp_path, 12 * size) for _ in range(2)]
    for round_ in range(8):
        found = frozen(both[round_ % 2])(pictures[round_ // 2])
        assert same(found, expected[round_ // 2])
    assert [store.trouble for store in both] == [None, None]
    assert len(entries(tmp_path)) <= 24


def test_more_entries_than_files_may_be_open(store):
    resource = pytest.importorskip("resource")
    pictures = Pictures(80)
    expected = frozen(store)(pictures)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 60  # noqa: PTH112, PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, limits[1]))
    try:
        assert same(frozen(store)(pictures), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert pictures.seen == 80


def test_pictures_given_as_a_tensor_have_the_same_features(store):
    pictures = Pictures(18)
    assert same(frozen(store).tensor(images.stack(pictures, SIZE)), frozen()(pictures))


def test_trouble_becomes_a_note_of_the_record(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "results" / "work").mkdir(parents=True)
    (tmp_path / "results" / "work" / "features").write_text("a file where the store's folder should be")
    small = ["--categories", "tablet", "--set", "synthetic.n_normal=8", "--set", "synthetic.n_anomalous=4"]
    tiny = ["--set", "deep_knn.backbone=random@timm:resnet18", "--set", "deep_knn.size=32"]
    what = ["--methods", "deep_knn", "--no-floors", "--dataset", "synthetic", *small, *tiny]
    result = cli("run", *what, "--results", tmp_path / "results")
    assert result.exit_code == 0, result.text
    (record,) = (tmp_path / "results").rglob("record.json")
    assert any("stopped writing" in note for note in json.loads(record.read_text())["notes"])
