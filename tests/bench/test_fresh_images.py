import shutil

import made_models
import numpy as np
import pytest

from anomalybench import run
from anomalybench.bench.fresh_images import fresh
from anomalybench.bench.item_table import ItemTables, Source
from anomalybench.bench.store import Store
from anomalybench.core.errors import DataError, UsageError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small real run on `bolt`, and images that it has not seen."""
    folder = tmp_path_factory.mktemp("run")
    made_models.draw(folder / "bolt")
    run(data=folder / "bolt", methods=("pixel_knn",), seeds=(0, 1), floors=False, results=folder / "results")
    made_models.write(folder / "new", made_models.normal(6, 77))
    return folder


@pytest.fixture
def store(place):
    return Store(place / "results")


@pytest.fixture
def cards(store):
    return [store.model(record).card for record in store.records()]


@pytest.fixture
def split(place, store):
    """The parts of the first job."""
    record = store.records()[0]
    table = ItemTables(Source(place / "bolt")).get(record.job.dataset, record.job.category)
    return table.split(record.job)


def names(found):
    return {f"{path.parent.name}/{path.name}" for path in found.paths}


def test_images_that_nobody_has_seen_all_stay(place, store, cards):
    found = fresh([str(place / "new")], cards[:1], store)
    assert len(found.paths) == 6
    assert found.labels is None
    assert found.remarks == ()


def test_of_the_runs_own_images_only_the_test_part_is_left(place, store, cards, split):
    found = fresh([str(place / "bolt")], cards[:1], store)
    assert names(found) == {item.path for item in split.test}
    assert found.remarks == (
        f"{60 - len(split.test)} of 60 images are left out: a model was fitted or calibrated on them",
    )
    by_name = dict(zip([path.parent.name for path in found.paths], found.labels, strict=True))
    assert by_name == {"good": 0, "scratch": 1}


def test_images_are_known_by_their_contents(place, store, cards, split, tmp_path):
    """A train image under another name is a train image."""
    for i, item in enumerate((split.train[0], split.calibration[0], split.test[0])):
        shutil.copy(place / "bolt" / item.path, tmp_path / f"copy{i}.png")
    found = fresh([str(tmp_path)], cards[:1], store)
    assert [path.name for path in found.paths] == ["copy2.png"]


def test_two_models_leave_what_neither_was_fitted_on(place, store, cards):
    alone = [names(fresh([str(place / "bolt")], [card], store)) for card in cards]
    assert alone[0] != alone[1]
    assert names(fresh([str(place / "bolt")], cards, store)) == alone[0] & alone[1]


def test_a_refit_has_seen_the_test_part_too(place, store, cards):
    again = cards[0].model_copy(update={"fitted_on": "train+test"})
    with pytest.raises(DataError, match="all 60 images were used to fit or calibrate"):
        fresh([str(place / "bolt")], [again], store)


def test_a_job_that_nobody_knows_is_said(place, store, cards):
    lost = cards[0].model_copy(update={"record": "gone"})
    found = fresh([str(place / "bolt")], [lost], store)
    assert len(found.paths) == 60
    (remark,) = found.remarks
    assert remark.startswith("nobody can check whether pixel_knn folder/bolt was fitted on some of these images: ")
    assert "does not hold its job gone" in remark


def test_images_that_are_gone_or_have_changed_are_said(tmp_path):
    made_models.draw(tmp_path / "bolt", 30, 15)
    run(data=tmp_path / "bolt", methods=("pixel_knn",), floors=False, results=tmp_path / "results")
    store = Store(tmp_path / "results")
    cards = [store.model(record).card for record in store.records()]
    made_models.write(tmp_path / "new", made_models.normal(3, 77))
    made_models.write(tmp_path / "bolt" / "dent", made_models.defective(1, 3))
    assert "have changed since" in fresh([str(tmp_path / "new")], cards, store).remarks[0]
    shutil.rmtree(tmp_path / "bolt")
    assert "nobody can check" in fresh([str(tmp_path / "new")], cards, store).remarks[0]


def test_files_and_patterns_have_no_labels(place, store, cards):
    pattern, file = str(place / "new" / "00*.png"), str(place / "new" / "001.png")
    found = fresh([pattern, file], cards[:1], store)
    assert [path.name for path in found.paths] == [f"{i:03d}.png" for i in range(6)]
    assert found.labels is None


def test_images_in_several_folders_that_are_no_classes_have_no_labels(place, store, cards, tmp_path):
    for name in ("monday", "tuesday"):
        made_models.write(tmp_path / name, made_models.normal(2, len(name)))
    found = fresh([str(tmp_path)], cards[:1], store)
    assert len(found.paths) == 4
    assert found.labels is None


def test_of_a_data_set_with_several_categories_the_models_own_is_taken(store, cards, tmp_path):
    for category in ("bolt", "nut"):
        for part, pictures in (("train/good", made_models.normal(4, 1)), ("test/good", made_models.normal(3, 2)),
                               ("test/hole", made_models.defective(2, 3))):  # fmt: skip
            made_models.write(tmp_path / category / part, pictures)
    found = fresh([str(tmp_path)], cards[:1], store)
    assert {path.relative_to(tmp_path).parts[0] for path in found.paths} == {"bolt"}
    assert np.bincount(found.labels).tolist() == [7, 2]
    other = [card.model_copy(update={"job": card.job.model_copy(update={"category": "gear"})}) for card in cards]
    with pytest.raises(DataError, match=r"several categories \(bolt, nut\)"):
        fresh([str(tmp_path)], other, store)


def test_what_is_not_there(store, cards, tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        fresh([str(tmp_path / "none")], cards, store)
    with pytest.raises(DataError, match="no images"):
        fresh([str(tmp_path)], cards, store)
