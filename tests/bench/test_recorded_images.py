import shutil

import made_models
import pytest

from anomalybench import run
from anomalybench.bench.fresh_images import fresh
from anomalybench.bench.recorded_images import RecordedImages
from anomalybench.bench.remeasure import Images
from anomalybench.bench.store import Store
from anomalybench.bench.winner import fitted_job
from anomalybench.core.errors import DataError, StoreError


def ran(folder, **options):
    made_models.draw(folder / "bolt")
    if options:
        (folder / "bolt" / "good" / "000.png").write_bytes(b"no image")
        cut = folder / "bolt" / "scratch" / "001.png"
        cut.write_bytes(cut.read_bytes()[:-200])  # its header is whole
    run(data=folder / "bolt", methods="pixel_knn", floors=False, results=folder / "results", progress=False, **options)
    return Store(folder / "results")


def test_images_of_a_run_that_left_out_what_cannot_be_read(tmp_path):
    store = ran(tmp_path, skip_unreadable=True)
    (record,) = store.records()
    table = RecordedImages().table(record)
    assert table.fingerprint == record.fingerprint
    assert set(table.skipped) == {"good/000.png", "scratch/001.png"}
    assert fitted_job(record.id, store.results, None).table.fingerprint == record.fingerprint
    assert Images(None).root(record) == table.root
    made_models.write(tmp_path / "new", made_models.normal(2, 77))
    assert fresh([str(tmp_path / "new")], [store.model(record).card], store).remarks == ()


def test_what_alone_cannot_be_decoded_was_left_out_too(tmp_path):
    store = ran(tmp_path, skip_unreadable=True)
    (tmp_path / "bolt" / "good" / "000.png").unlink()
    (record,) = store.records()
    assert set(RecordedImages().table(record).skipped) == {"scratch/001.png"}


def test_images_that_have_changed_or_are_gone(tmp_path):
    store = ran(tmp_path)
    (record,) = store.records()
    made_models.write(tmp_path / "bolt" / "dent", made_models.defective(1, 3))
    with pytest.raises(StoreError, match=r"have changed since .*--data DIR"):
        RecordedImages().table(record)
    (tmp_path / "bolt" / "good" / "007.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"good/007\.png"):
        RecordedImages().table(record)
    shutil.rmtree(tmp_path / "bolt")
    with pytest.raises(DataError):
        RecordedImages().table(record)


def test_the_option_goes_before_the_folder_of_the_run_and_that_before_the_variable(tmp_path, monkeypatch):
    store = ran(tmp_path)
    (record,) = store.records()
    monkeypatch.setenv("ANOMALYBENCH_DATA", str(tmp_path / "other" / "bolt"))
    assert RecordedImages().table(record).root == tmp_path / "bolt"
    shutil.copytree(tmp_path / "bolt", tmp_path / "named" / "bolt")
    assert RecordedImages(tmp_path / "named" / "bolt").table(record).root == tmp_path / "named" / "bolt"
    (tmp_path / "other").mkdir()
    shutil.move(tmp_path / "bolt", tmp_path / "other" / "bolt")
    assert RecordedImages().table(record).root == tmp_path / "other" / "bolt"
