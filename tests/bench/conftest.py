"""Finished jobs that were never run, with small real models."""

import made_models
import made_records
import pytest

from anomalybench.bench.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def test_images(tmp_path):
    return made_records.draw_images(tmp_path / "data", "bolt", 12)


@pytest.fixture
def put(store, test_images, tmp_path):
    """Stores a finished job with a model."""

    def call(method="padim", *, model=True, gap=1.5, where=None, **changes):
        job = made_records.job(method).model_copy(update=where)
        record = made_records.put(store, tmp_path / "data", job, test_images, gap=gap, maps=False, **changes)
        return made_models.kept(store, record) if model else record

    return call
