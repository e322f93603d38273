import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from anomalybench.datasets.synthetic import Synthetic
from anomalybench.inspection import near_duplicates
from anomalybench.inspection.near_duplicates import Pair, candidates, find, perceptual_hash, thumbnail
from anomalybench.vision.images import read_rgb

SIDE, MARGIN = 240, 16
ROWS, COLUMNS = np.mgrid[: SIDE + 2 * MARGIN, : SIDE + 2 * MARGIN].astype(float)


def part(seed, individual=22):
    """A pressed plate: ring and bars as on all others, a surface of its own; with a margin to move in."""
    rng = np.random.default_rng(seed)
    centre = SIDE / 2 + MARGIN
    distance = np.hypot(ROWS - centre, COLUMNS - centre)
    shared = 110 + 50 * (distance < 90) - 70 * (abs(distance - 60) < 6) + 30 * (abs(ROWS - centre) < 5)
    surface = ndimage.gaussian_filter(rng.normal(0, 1, ROWS.shape), 3)
    picture = shared + individual * surface / surface.std() + rng.normal(0, 2, ROWS.shape)
    return np.repeat(np.clip(picture, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def inner(picture, down=0, right=0, margin=MARGIN):
    size = len(picture) - 2 * margin
    return picture[margin + down : margin + down + size, margin + right : margin + right + size]


def scaled(factor):
    def change(picture):
        cut = inner(picture)
        return np.asarray(Image.fromarray(cut).resize((round(len(cut) * factor),) * 2, Image.Resampling.BICUBIC))

    return change


def toned(gain, offset):
    return lambda picture: np.clip((inner(picture) - 128.0) * gain + 128 + offset, 0, 255).astype(np.uint8)


def jpeg(picture):
    stream = io.BytesIO()
    Image.fromarray(inner(picture)).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream).convert("RGB"))


def shot(picture, seed):
    """The same object again: turned by 1 to 3 degrees, moved by up to 4 pixels, another light, sensor noise."""
    rng = np.random.default_rng(seed)
    angle = rng.choice([-1, 1]) * rng.uniform(1, 3)
    turned = Image.fromarray(picture).rotate(angle, Image.Resampling.BICUBIC, translate=tuple(rng.uniform(-4, 4, 2)))
    light = rng.uniform(0.9, 1.1) + 0.1 * (COLUMNS / SIDE - 0.5)
    lit = np.asarray(turned) * light[..., None] + rng.normal(0, 3, (*ROWS.shape, 1))
    return inner(np.clip(lit, 0, 255).round().astype(np.uint8))


PARTS = [part(seed) for seed in range(16)]
CLEAN = [thumbnail(inner(picture)) for picture in PARTS]


def linked(pairs):
    return {(pair.first, pair.second) for pair in pairs}


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        scaled(0.9),
        scaled(0.5),
        toned(1, 25),
        toned(1, -25),
        toned(1.1, 0),
        toned(0.9, 0),
        lambda picture: inner(picture, 4, -3),
        lambda picture: inner(picture, margin=MARGIN + 7),
        lambda picture: inner(picture)[8:, :-10],
        lambda picture: shot(picture, 5),
    ],
    ids=["jpeg", "90 %", "50 %", "brighter", "darker", "contrast", "dull", "shifted", "crop", "one-sided crop", "shot"],
)
def test_an_altered_copy_is_found_and_nothing_else(change):
    assert linked(find([*CLEAN, thumbnail(change(PARTS[3]))])) == {(3, 16)}


def test_an_object_shot_six_times_is_found_and_nothing_else():
    shots = [thumbnail(shot(PARTS[0], seed)) for seed in range(6)]
    pairs = find([*CLEAN[1:], *shots])
    assert {i for pair in linked(pairs) for i in pair} == set(range(15, 21))
    assert all(pair.first >= 15 and pair.score >= 1 for pair in pairs)


def test_a_copy_that_kept_its_geometry_is_told_from_a_shot():
    assert [pair.kind for pair in find([*CLEAN, thumbnail(toned(1.1, 0)(PARTS[3]))])] == ["copy"]


def test_aligned_look_alikes_are_no_duplicates():
    assert find(CLEAN) == []
    assert find([thumbnail(inner(part(seed, individual=0))) for seed in range(30, 50)]) == []


def test_the_same_object_on_a_still_background_is_found():
    """Three quarters of the picture are common to all and do not move; only the object does."""
    scene = np.repeat((60 + COLUMNS / 4).astype(np.uint8)[..., None], 3, axis=2)
    pictures = []
    for seed in (*range(14), 3):
        picture = scene.copy()
        down, right = (5, -4) if len(pictures) == 14 else (0, 0)
        picture[80 + down : 200 + down, 80 + right : 200 + right] = part(seed)[80:200, 80:200]
        pictures.append(thumbnail(inner(picture)))
    assert linked(find(pictures)) == {(3, 14)}


def test_periodic_texture_matches_everywhere_and_proves_nothing():
    rng = np.random.default_rng(0)
    pictures = []
    for phase in np.pi / 2 * np.argwhere(np.ones((4, 4))):
        woven = 128 + 40 * np.sin(COLUMNS * 0.6 + phase[0]) + 40 * np.sin(ROWS * 0.6 + phase[1])
        noisy = np.clip(woven + rng.normal(0, 4, ROWS.shape), 0, 255).astype(np.uint8)
        pictures.append(thumbnail(inner(np.repeat(noisy[..., None], 3, axis=2))))
    assert find(pictures) == []


def test_flat_images_are_no_duplicates():
    assert find([np.full((192, 192), 100 + i, np.uint8) for i in range(14)]) == []


def test_the_order_of_the_images_plays_no_part():
    images = [*CLEAN, thumbnail(shot(PARTS[3], 5)), thumbnail(jpeg(PARTS[7]))]
    order = np.random.default_rng(1).permutation(len(images))
    there = {frozenset(pair) for pair in linked(find(images))}
    back = {frozenset((int(order[a]), int(order[b]))) for a, b in linked(find([images[i] for i in order]))}
    assert there == back == {frozenset((3, 16)), frozenset((7, 17))}


@pytest.mark.parametrize("n", [0, 1, 2, near_duplicates.FEWEST - 1])
def test_among_few_images_only_copies_that_are_all_but_equal_are_found(n):
    assert find(CLEAN[:n]) == []
    shots = [*CLEAN[: max(0, n - 1)], thumbnail(shot(PARTS[0], 5))]
    assert find(shots) == []
    if n > 1:
        copies = find([*CLEAN[: n - 1], thumbnail(toned(1.05, 0)(PARTS[0]))])
        assert [(pair.first, pair.second, pair.kind) for pair in copies] == [(0, n - 1, "copy")]


def test_candidates_are_the_nearest_hashes_whatever_the_block():
    rng = np.random.default_rng(0)
    blobs = ndimage.gaussian_filter(rng.normal(0, 1, (600, 192, 192)), (0, 12, 12))
    thumbnails = list((128 + 400 * blobs).clip(0, 255).astype(np.uint8))
    hashes = np.stack([perceptual_hash(thumb) for thumb in thumbnails]).astype(float)
    hashes /= np.linalg.norm(hashes, axis=1, keepdims=True)
    hashes -= hashes.mean(0)
    hashes /= np.linalg.norm(hashes, axis=1, keepdims=True)
    similarity = hashes @ hashes.T - 9 * np.eye(600)
    found = candidates(thumbnails, 5)
    assert found.shape == (600, 5)
    assert np.allclose(np.take_along_axis(similarity, found, 1), -np.sort(-similarity, axis=1)[:, :5], atol=1e-5)


def test_a_hash_barely_changes_with_size_and_tone():
    original, other = perceptual_hash(CLEAN[0]), perceptual_hash(CLEAN[1])
    for change in (scaled(0.5), toned(0.9, 10), jpeg):
        copy = perceptual_hash(thumbnail(change(PARTS[0])))
        assert np.corrcoef(original, copy)[0, 1] > 0.999 > np.corrcoef(original, other)[0, 1]


def test_pairs_are_sorted_and_point_forward():
    pairs = find([*CLEAN, *(thumbnail(jpeg(picture)) for picture in PARTS[:4])])
    assert [(pair.first, pair.second) for pair in pairs] == [(i, 16 + i) for i in range(4)]
    assert all(isinstance(pair, Pair) for pair in pairs)


def test_peaks_are_measured_between_pixels_and_trusted_if_their_neighbours_agree():
    shifts = np.arange(near_duplicates._SHIFTS)
    surface = 0.9 - 0.01 * ((shifts[:, None] - 20.3) ** 2 + (shifts - 7.6) ** 2)
    surfaces = np.repeat(surface[None], near_duplicates._GRID**2, axis=0).astype(np.float32)
    surfaces[7] = np.roll(surfaces[7], 5, axis=0)
    surfaces[8] = np.roll(surfaces[8], 2, axis=0)
    values, trusted = near_duplicates._peaks(surfaces)
    assert np.allclose(values, 0.9, atol=1e-4)
    assert np.flatnonzero(~trusted).tolist() == [7]


def test_lucky_matches_that_do_not_move_together_are_no_evidence():
    """The edge of one large blob matches some edge of any other, each in another direction."""

    def blobs(seed):
        rng = np.random.default_rng(seed)
        field = 128 + 40 * np.sign(ndimage.gaussian_filter(rng.normal(0, 1, ROWS.shape), 36))
        disc = np.where(np.hypot(ROWS - 136, COLUMNS - 136) < 90, field, 60)
        return np.repeat(disc.astype(np.uint8)[..., None], 3, axis=2)

    shots = [thumbnail(shot(blobs(0), seed)) for seed in range(6)]
    pairs = find([*(thumbnail(inner(blobs(seed))) for seed in range(1, 31)), *shots])
    assert {i for pair in linked(pairs) for i in pair} == set(range(30, 36))


def test_both_images_of_a_pair_must_find_it_out_of_the_ordinary():
    """Crops of some look-alikes are alike among each other, but each is also like its own kind."""
    plugin = Synthetic(n_normal=40, n_anomalous=0)
    root = plugin.root(None)
    pictures = [read_rgb(root / item.path) for item in plugin.items(root, "disc")]
    cropped = [picture[4:-4, 4:-4] for picture in pictures[:8]]
    assert not [p for p in find([thumbnail(p) for p in [*pictures, *cropped]]) if p.second - p.first != 40]


def test_noise_of_one_grey_level_is_no_detail():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (14, 192, 192)).astype(np.uint8)
    noise[13, 40:] = noise[2, 40:]
    assert find(list(100 + noise)) == []
