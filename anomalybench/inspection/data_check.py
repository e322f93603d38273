"""What is wrong with the images of a category before anything is trained: broken files, duplicates, bad masks.

Everything is listed, not only the first fault. Duplicates matter most: most protocols pool all images whatever the
dataset's own split says, so that two images of one object end up in train and test, unless they share a `group`.
`inspection.near_duplicates` says how near duplicates are told from look-alikes, and what was measured.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from anomalybench.core.dataset import ANOMALOUS, NORMAL, Dataset, Item, file_fault, left_out_summary
from anomalybench.core.errors import DataError, printable
from anomalybench.inspection import near_duplicates
from anomalybench.inspection.findings import SEVERITIES, Count, Finding, Kind, Report, Severity, to_json
from anomalybench.vision.decoding import opened
from anomalybench.vision.images import bits_of, greatest_value, is_deep_colour, read_mask, read_rgb

__all__ = ["Count", "Finding", "Report", "check", "to_json"]

_TIE = "group them with a group column or --group-by REGEX"


@dataclass(frozen=True)
class _Picture:
    item: Item
    content: str
    pixels: str
    size: str
    mode: str
    blank: bool
    thumbnail: near_duplicates.Thumbnail


def check(plugin: Dataset, root: Path, category: str) -> Report:
    """Look at every image and mask of one category; each is decoded once.

    Raises:
        UsageError: The category does not exist.
        DataError: The plugin cannot list its items, as where a manifest is broken.
    """
    plugin.check_category(root, category)
    listed = sorted(plugin.grouped(root, category), key=lambda item: (item.path, repr(item)))
    by_path = [list(same) for _, same in groupby(listed, key=lambda item: item.path)]
    items = plugin.thin([same[0] for same in by_path])
    findings = [_listed_twice(same) for same in by_path if len(same) > 1] + _labels(category, items)
    greatest = _greatest_values(root, items)
    bits = bits_of(greatest.values())
    pictures = []
    for item in items:
        read = _read(root, item, bits)
        if isinstance(read, Finding):
            findings.append(read)
        else:
            pictures.append(read)
    findings += _masks(root, items, {picture.item.path: picture.size for picture in pictures})
    findings += _looks(category, pictures) + _duplicates(category, pictures)
    findings += (
        _depth(category, greatest, bits) + _deep_colour(root, category, pictures) + _left_out(plugin, root, category)
    )
    return Report(
        dataset=plugin.plugin,
        category=category,
        n_images=len(items),
        findings=tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.kind, f.paths, f.detail))),
        balance=_balance(items),
        sizes=_counts(picture.size for picture in pictures),
        modes=_counts(picture.mode for picture in pictures),
    )


def _labels(category: str, items: Sequence[Item]) -> list[Finding]:
    if not items:
        return [Finding("no_images", "error", category, (), "no images found.")]
    if all(item.label == ANOMALOUS for item in items):
        text = "no normal images. Every method and threshold needs some."
        return [Finding("no_normal", "error", category, (), text)]
    return []


def _listed_twice(same: Sequence[Item]) -> Finding:
    text = f"listed {len(same)} times. List every image once."
    return Finding("listed_twice", "error", same[0].category, (same[0].path,), text)


def _greatest_values(root: Path, items: Sequence[Item]) -> dict[str, int]:
    """Greatest value of every 16-bit image that can be read, by path."""
    found = {}
    for item in items:
        with suppress(DataError):  # what cannot be read becomes a finding of its own
            if (greatest := greatest_value(root / item.path)) is not None:
                found[item.path] = greatest
    return found


def _depth(category: str, greatest: Mapping[str, int], bits: int) -> list[Finding]:
    if bits == 16:
        return []
    text = (
        f"{len(greatest)} 16-bit files use {bits} bits (0 to {max(greatest.values())}), so 0 to {2**bits - 1} becomes "
        "black to white. A run takes this range from its train images."
    )
    return [Finding("bits", "remark", category, tuple(sorted(greatest)), text)]


def _deep_colour(root: Path, category: str, pictures: Sequence[_Picture]) -> list[Finding]:
    deep = tuple(p.item.path for p in pictures if is_deep_colour(root / p.item.path))
    if not deep:
        return []
    text = (
        f"{len(deep)} colour images have 16 bits per channel, of which the upper 8 are read. If the camera uses fewer "
        "than 16, they become dark: save them with 8 bits."
    )
    return [Finding("deep_colour", "remark", category, deep, text)]


def _left_out(plugin: Dataset, root: Path, category: str) -> list[Finding]:
    left = plugin.left_out(root, category)
    if (summary := left_out_summary(left)) is None:
        return []
    return [Finding("left_out", "remark", category, tuple(one.path for one in left), f"{summary}.")]


def _read(root: Path, item: Item, bits: int) -> _Picture | Finding:
    file = root / item.path
    try:
        content = _content(root, item.path)
        with opened(file) as image:
            mode = image.mode
        pixels = read_rgb(file, bits)
    except (OSError, DataError) as error:
        return _unreadable(root, item, item.path, error)
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{width}x{height}".encode() + pixels.tobytes()).hexdigest()
    blank = bool((pixels == pixels[0, 0]).all())
    thumbnail = near_duplicates.thumbnail(pixels)
    return _Picture(item, content, digest, f"{width}x{height}", mode, blank, thumbnail)


def _content(root: Path, path: str) -> str:
    """Hash of the file; DataError if there is none."""
    if fault := file_fault(root, path):
        raise DataError(fault)
    return hashlib.sha256((root / path).read_bytes()).hexdigest()


def _unreadable(root: Path, item: Item, path: str, error: OSError | DataError) -> Finding:
    reason = str(error).removeprefix(f"{printable(root / path)}: ")
    reason = reason if isinstance(error, DataError) else f"cannot be read ({error.strerror})."
    cure = " Replace or remove it." if reason.endswith(("read.", ").")) else ""
    return Finding("unreadable", "error", item.category, (path,), f"{reason}{cure}")


def _masks(root: Path, items: Sequence[Item], sizes: Mapping[str, str]) -> list[Finding]:
    found = [finding for item in items if item.mask for finding in _mask(root, item, item.mask, sizes.get(item.path))]
    without = [item.path for item in items if item.label == ANOMALOUS and not item.mask]
    if without and any(item.label == ANOMALOUS and item.mask for item in items):
        text = f"{len(without)} defective images have no mask, others do: pixel metrics leave them out."
        found.append(Finding("no_mask", "remark", items[0].category, tuple(without), text))
    return found


def _mask(root: Path, item: Item, path: str, size: str | None) -> list[Finding]:
    try:
        _content(root, path)
        mask = read_mask(root / path)
    except (OSError, DataError) as error:
        return [_unreadable(root, item, path, error)]
    found: list[tuple[Kind, str]] = []
    mask_size = f"{mask.shape[1]}x{mask.shape[0]}"
    if size is not None and mask_size != size:
        found.append(("mask_size", f"the mask {path} is {mask_size}, its image {size}. Make them the same size."))
    if item.label == ANOMALOUS and not mask.any():
        text = f"the image is labelled '{item.defect}', but its mask {path} marks nothing. Mend the mask or the label."
        found.append(("empty_mask", text))
    if item.label == NORMAL and mask.any():
        text = f"the image is labelled normal, but its mask {path} marks {mask.sum()} pixels. Mend either."
        found.append(("mask_disagrees", text))
    return [Finding(kind, "error", item.category, (item.path,), text) for kind, text in found]


def _looks(category: str, pictures: Sequence[_Picture]) -> list[Finding]:
    """Remarks on sizes, modes and images of a single colour."""
    found = []
    kinds: tuple[tuple[Kind, str, list[str]], ...] = (
        ("mixed_sizes", "sizes", [picture.size for picture in pictures]),
        ("mixed_modes", "modes", [picture.mode for picture in pictures]),
    )
    for kind, name, values in kinds:
        counts = _counts(values)
        if len(counts) > 1:
            common = next(iter(counts))
            rare = [p.item.path for p, value in zip(pictures, values, strict=True) if value != common]
            listed = ", ".join(f"{value} ({n})" for value, n in counts.items())
            text = f"{len(counts)} {name}: {listed}. Check that they do not go with the labels; listed are the rarer."
            found.append(Finding(kind, "remark", category, tuple(rare), text))
    if blank := [picture.item.path for picture in pictures if picture.blank]:
        text = f"{len(blank)} images are of a single colour: nothing to see, nor to compare."
        found.append(Finding("blank", "remark", category, tuple(blank), text))
    return found


def _duplicates(category: str, pictures: Sequence[_Picture]) -> list[Finding]:
    first: dict[str, int] = {}
    links = [(first.setdefault(picture.pixels, i), i) for i, picture in enumerate(pictures)]
    distinct = [i for i in first.values() if not pictures[i].blank]
    pairs = near_duplicates.find([pictures[i].thumbnail for i in distinct])
    links += [(distinct[pair.first], distinct[pair.second]) for pair in pairs]
    clusters = _clusters(len(pictures), links)
    scores: dict[int, list[float]] = {}
    for pair in pairs:
        scores.setdefault(clusters[distinct[pair.first]], []).append(pair.score)
    found = []
    for cluster, n in Counter(clusters).items():
        if n > 1:
            members = [picture for picture, c in zip(pictures, clusters, strict=True) if c == cluster]
            found += _cluster(category, members, scores.get(cluster, []))
    if 1 < len(distinct) < near_duplicates.FEWEST:
        text = f"with only {len(distinct)} different images, new shots of one object cannot be told from look-alikes."
        found.append(Finding("too_few", "remark", category, (), text))
    return found


def _clusters(n: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """Number of the cluster of each of n images."""
    if not n:
        return []
    a, b = zip(*links, strict=True)
    _, clusters = connected_components(coo_array(([1] * len(links), (a, b)), shape=(n, n)), directed=False)
    return [int(cluster) for cluster in clusters]


def _cluster(category: str, members: Sequence[_Picture], scores: Sequence[float]) -> list[Finding]:
    """The finding for one cluster of duplicates; none where all shots are in one group."""
    items = [picture.item for picture in members]
    grouped = items[0].group is not None and len({item.group for item in items}) == 1
    if grouped and scores:
        return []
    contradict = len({item.label for item in items}) > 1
    if scores:
        alike = f"{min(scores):.1f}" + (f" to {max(scores):.1f}" if max(scores) >= min(scores) + 0.05 else "")
        what = f"{len(items)} images show the same picture or object (similarity {alike}; duplicates have 1 or more)"
        cure = f"If they are copies, keep one; if it is one object shot again, {_TIE}."
    else:
        how = "byte for byte" if len({picture.content for picture in members}) == 1 else "pixel by pixel"
        what, cure = f"{len(items)} files hold the same picture, {how}", "Keep one."
    if contradict:
        why = "one object before and after the damage" if scores else "none can be right for both"
        what, cure = f"{what}, but labels contradict", f"Look at them: a wrong label, or {why}. {cure}"
    kind: Kind = "contradiction" if contradict else "near_duplicate" if scores else "exact_duplicate"
    severity: Severity = "leak" if not grouped else "error" if contradict else "remark"
    text = f"{what}; {_where(items)}. {cure}"
    return [Finding(kind, severity, category, tuple(sorted(item.path for item in items)), text, cure)]


def _where(items: Sequence[Item]) -> str:
    splits = sorted({item.split for item in items if item.split})
    place = "within " + splits[0] if len(splits) == 1 else "in " + " and ".join(splits) if splits else "in one pool"
    return f"{place}, " + ", ".join(f"{n} {defect}" for defect, n in _counts(item.defect for item in items).items())


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])))


def _balance(items: Sequence[Item]) -> tuple[Count, ...]:
    images = Counter((item.split or "", item.label, item.defect) for item in items)
    masks = Counter((item.split or "", item.label, item.defect) for item in items if item.mask)
    return tuple(Count(key[0] or None, *key[1:], n, masks[key]) for key, n in sorted(images.items()))
