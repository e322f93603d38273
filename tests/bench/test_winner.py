import os

import made_models
import pytest

from anomalybench import run
from anomalybench.bench.store import Store
from anomalybench.bench.winner import Target, fitted_job
from anomalybench.core.errors import StoreError, UsageError
from anomalybench.deploy import bundle


@pytest.fixture
def results(tmp_path):
    """A run that kept no model."""
    made_models.draw(tmp_path / "bolt")
    run(data=tmp_path / "bolt", methods="pixel_knn", floors=False, results=tmp_path / "results", keep_models="none",
        name="toy", progress=False)  # fmt: skip
    return tmp_path / "results"


def test_a_job_is_fitted_again_though_its_model_was_not_kept(results, tmp_path):
    record = Store(results).records()[0]
    assert Store(results).model(record) is None
    for text in (record.id, "best:toy"):
        chosen = fitted_job(text, results, None)
        assert chosen.record == record
    fitted = chosen.refit("cpu", lambda *_: None)
    folder = Target(results, None, tmp_path / "out").keep(fitted)
    assert bundle.read(folder).card.fitted_on == "train+test"


def test_only_a_job_is_fitted_again(results, tmp_path):
    bundle.write(tmp_path, made_models.bundle())
    with pytest.raises(UsageError, match="only a job can be fitted again"):
        fitted_job(str(tmp_path), results, None)


def test_a_file_is_no_folder_for_a_model(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"file: is a file\. Name a new folder"):
        Target(tmp_path, None, tmp_path / "file").check()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_noticed_before_the_fit(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written .*--out DIR"):
        Target(tmp_path, None, tmp_path / "file" / "out").check()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_noticed_before_the_fit(tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        Target(tmp_path, None, tmp_path / "out").check()


def test_a_new_folder_is_fine_and_stays_empty(tmp_path):
    for _ in range(2):
        Target(tmp_path, None, tmp_path / "new" / "out").check()
    assert not list((tmp_path / "new" / "out").iterdir())
