import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from anomalybench.core.dataset import ANOMALOUS, NORMAL, Dataset, Item, contents, fingerprint, stable_hash
from anomalybench.core.errors import DataError, UsageError
from anomalybench.core.split import KFold, Pooled


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
def test_a_missing_or_empty_file_is_named(tmp_path, items, file):
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{file} is empty"):
        load(tmp_path, items)
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=rf"{file} does not exist"):
        load(tmp_path, items)


def test_a_missing_file_is_found_even_if_thinning_would_drop_it(tmp_path, items):
    kept = load(tmp_path, items, max_normal=1, max_anomalous=1)
    dropped = next(item for item in items if item not in kept)
    (tmp_path / dropped.path).unlink()
    with pytest.raises(DataError, match=dropped.path):
        load(tmp_path, items, max_normal=1, max_anomalous=1)


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
    with pytest.raises(UsageError, match=r"'botle'.*'bottle'"):
        Listed(listed=items).load(tmp_path, "botle")


def test_no_or_a_wrong_data_folder_names_the_source(tmp_path):
    for folder in (None, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"https://example\.org/listed"):
            Listed().root(folder)


def test_the_data_folder_may_hold_the_dataset_by_its_name(tmp_path):
    assert Listed().root(tmp_path) == tmp_path
    (tmp_path / Listed().name).mkdir()
    assert Listed().root(tmp_path) == tmp_path / Listed().name


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
    assert set(groups(tmp_path, items, r"(\d*)").values()) == {None}


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
