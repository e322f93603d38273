import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from anomalybench.core.dataset import (
    ANOMALOUS,
    NORMAL,
    Dataset,
    Item,
    LeftOut,
    contents,
    file_fault,
    fingerprint,
    grouping,
    left_out_summary,
    stable_hash,
)
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.protocols.kfold import KFold
from anomalybench.core.protocols.pooled import Pooled


@dataclass(frozen=True, kw_only=True)
class Listed(Dataset):
    source: ClassVar[str] = "https://example.org/listed"

    listed: list[Item] = field(default_factory=list)

    def categories(self, root):
        return ["bottle", "cable"]

    def items(self, root, category):
        return self.listed


@pytest.fixture
def items(tmp_path):
    made = [Item(f"good/{i:02d}.png", "bottle", NORMAL) for i in range(12)]
    made += [Item(f"hole/{i:02d}.png", "bottle", ANOMALOUS, "hole", mask=f"masks/{i:02d}.png") for i in range(6)]
    for file in [name for item in made for name in (item.path, item.mask) if name]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"image")
    return made


def load(root, items, **options):
    return Listed(listed=items, **options).load(root, "bottle")


def test_items_come_sorted_by_path(tmp_path, items):
    assert load(tmp_path, items[::-1]) == sorted(items, key=lambda item: item.path)


@pytest.mark.parametrize("file", ["good/03.png", "hole/02.png", "masks/02.png"])
def test_the_fault_of_a_missing_or_empty_file_is_told(tmp_path, items, file):
    assert file_fault(tmp_path, file) is None
    (tmp_path / file).write_bytes(b"")
    assert "is empty (0 bytes)" in file_fault(tmp_path, file)
    (tmp_path / file).unlink()
    assert "does not exist" in file_fault(tmp_path, file)
    assert file_fault(tmp_path, "good/0\0.png")


def test_a_name_that_is_not_utf8_is_a_fault_and_does_not_stop_the_listing(tmp_path, items):
    name = os.fsdecode(b"good/caf\xe9.png")
    (tmp_path / name).write_bytes(b"image")
    listed = load(tmp_path, [*items, Item(name, "bolt", NORMAL)], max_normal=13)
    assert name in {item.path for item in listed}
    assert "not UTF-8" in file_fault(tmp_path, name)
    assert hashed(tmp_path, listed)


def test_what_cannot_be_read_is_left_out_after_thinning(tmp_path, items):
    thinned = load(tmp_path, items, max_normal=5, max_anomalous=2)
    gone, masked = thinned[0], thinned[-1]
    dataset = Listed(listed=items, max_normal=5, max_anomalous=2)
    kept = dataset.load(tmp_path, "bottle", without={gone.path: "broken", masked.mask: "empty"})
    assert kept == [item for item in thinned if item not in (gone, masked)]
    with pytest.raises(DataError, match="no normal images"):
        dataset.load(tmp_path, "bottle", without=[item.path for item in items if item.label == NORMAL])


def test_an_image_listed_twice_is_refused(tmp_path, items):
    with pytest.raises(DataError, match=r"good/00.png is listed twice"):
        load(tmp_path, [*items, items[0]])
    both = [dataclasses.replace(items[0], split=part) for part in ("train", "test")]
    with pytest.raises(DataError, match=r"listed twice.*train, test"):
        load(tmp_path, [*items[1:], *both])


def test_no_images_and_no_normal_images_are_refused(tmp_path, items):
    with pytest.raises(DataError, match="no images"):
        load(tmp_path, [])
    with pytest.raises(DataError, match="no normal images"):
        load(tmp_path, [item for item in items if item.label == ANOMALOUS])


def test_an_unknown_category_gets_the_nearest(tmp_path, items):
    with pytest.raises(UsageError, match=r"'botle'.*'bottle'.*Known: bottle, cable"):
        Listed(listed=items).load(tmp_path, "botle")


def test_no_or_a_wrong_data_folder_names_the_source(tmp_path):
    for folder in (None, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"https://example\.org/listed"):
            Listed().root(folder)


def test_a_file_as_data_folder_is_called_a_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"image")
    with pytest.raises(DataError, match=r"a\.png is a file"):
        Listed().root(tmp_path / "a.png")


def test_the_data_folder_may_hold_the_dataset_by_its_name(tmp_path):
    assert Listed().root(tmp_path) == tmp_path
    (tmp_path / Listed().plugin).mkdir()
    assert Listed().root(tmp_path) == tmp_path / Listed().plugin


def test_thinning_keeps_the_same_few_whatever_the_order(tmp_path, items):
    kept = load(tmp_path, items, max_normal=5, max_anomalous=2)
    assert [sum(i.label == label for i in kept) for label in (NORMAL, ANOMALOUS)] == [5, 2]
    assert load(tmp_path, items[::-1], max_normal=5, max_anomalous=2) == kept
    assert set(kept) <= set(load(tmp_path, items, max_normal=7, max_anomalous=3))


def test_thinning_does_not_favour_the_first_names(tmp_path, items):
    normal = [item for item in load(tmp_path, items, max_normal=5) if item.label == NORMAL]
    assert normal != load(tmp_path, items)[:5]


def test_thinning_to_more_than_there_are_keeps_all(tmp_path, items):
    assert load(tmp_path, items, max_normal=12, max_anomalous=100) == load(tmp_path, items)


def hashed(root, items):
    return fingerprint(items, contents(root, items))


def test_fingerprint_is_the_same_for_the_same_items_in_any_order(tmp_path, items):
    before = hashed(tmp_path, items)
    assert hashed(tmp_path, items[::-1]) == before
    assert hashed(tmp_path, [dataclasses.replace(item) for item in items]) == before


@pytest.mark.parametrize(
    "change",
    [
        {"label": ANOMALOUS},
        {"defect": "crack"},
        {"mask": "masks/01.png"},
        {"group": "object 1"},
        {"split": "train"},
        {"category": "cable"},
        {"path": "masks/00.png"},
    ],
)
def test_fingerprint_changes_with_every_field(tmp_path, items, change):
    changed = [dataclasses.replace(items[0], **change), *items[1:]]
    assert hashed(tmp_path, changed) != hashed(tmp_path, items)


def test_fingerprint_changes_with_the_list_and_with_a_files_size(tmp_path, items):
    before = hashed(tmp_path, items)
    assert hashed(tmp_path, items[:-1]) != before
    (tmp_path / items[4].path).write_bytes(b"another image")
    assert hashed(tmp_path, items) != before


def test_stable_hash_is_the_head_of_sha256():
    assert stable_hash("abc") == 0xBA7816BF8F01CFEA
    assert stable_hash("Schraube ø") == int(hashlib.sha256("Schraube ø".encode()).hexdigest()[:16], 16)
    assert len({stable_hash(str(i)) for i in range(1000)}) == 1000


def groups(root, items, pattern):
    return {item.path: item.group for item in load(root, items, group_by=pattern)}


def test_images_whose_match_is_the_same_belong_together(tmp_path, items):
    found = groups(tmp_path, items, r"\d\d")
    assert found["good/03.png"] == found["hole/03.png"] != found["good/04.png"]
    assert set(found.values()) == {f"{i:02d}" for i in range(12)}


def test_with_groups_in_the_pattern_these_count_and_not_the_whole_match(tmp_path, items):
    found = groups(tmp_path, items, r"(\w+)/(\d)\d\.png")
    assert found["good/03.png"] == found["good/09.png"] == "good/0"
    assert found["good/11.png"] == "good/1"
    assert found["hole/03.png"] == "hole/0"


def test_an_image_that_does_not_match_keeps_the_group_it_has(tmp_path, items):
    own = [dataclasses.replace(item, group="own") for item in items]
    found = groups(tmp_path, own, r"hole/0(\d)")
    assert found["good/03.png"] == "own"
    assert found["hole/03.png"] == "3"
    assert groups(tmp_path, own, "")["hole/03.png"] == "own"


def test_an_empty_match_is_none(tmp_path, items):
    found = groups(tmp_path, items, r"good/0(\d*)|")
    assert (found["good/03.png"], found["hole/03.png"]) == ("3", None)


@pytest.mark.parametrize("pattern", ["nothing like this", r"(\d*)", "^"])
def test_a_pattern_that_groups_nothing_is_refused_with_an_example(tmp_path, items, pattern):
    with pytest.raises(DataError, match=r"none of the 18 paths.*for example good/00\.png") as error:
        groups(tmp_path, items, pattern)
    assert f"--group-by {pattern} " in str(error.value)


def test_the_number_of_groups_is_told(tmp_path, items):
    assert grouping(items) is None
    assert grouping(load(tmp_path, items, group_by=r"/(\d\d)")) == "12 groups from 18 images"
    assert grouping(load(tmp_path, items, group_by=r"hole/0(\d)")) == "6 groups from 6 images; 12 images stand alone"


def test_what_is_left_out_is_counted_by_reason():
    assert left_out_summary([]) is None
    left = [LeftOut(f"{i}.heic", "not read") for i in range(3)] + [LeftOut("a\x1b.png", "hidden")]
    assert left_out_summary(left) == "left out: 3 not read (0.heic, 1.heic, ...); 1 hidden (a\\x1b.png)"


def test_a_dataset_that_depends_on_no_folder_is_settled_as_it_is(tmp_path, items):
    dataset = Listed(listed=items)
    assert dataset.settled(tmp_path) == dataset
    assert dataset.left_out(tmp_path, "bottle") == []


def test_a_group_that_did_not_take_part_in_the_match_is_empty(tmp_path, items):
    found = groups(tmp_path, items, r"(good)?/(\d)")
    assert (found["good/03.png"], found["hole/03.png"]) == ("good/0", "/0")


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        Listed(group_by="(")


@pytest.mark.parametrize("protocol", [Pooled(), KFold(k=3)])
def test_what_belongs_together_stays_on_one_side(tmp_path, items, protocol):
    grouped = load(tmp_path, items, group_by=r"/(\d\d)")
    split = protocol.split(grouped, 0, protocol.folds(grouped)[0])
    sides = [{item.group for item in part} for part in (split.train, split.calibration, split.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12
    assert all(sides)
