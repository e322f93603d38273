import os
import time

import made_models
import numpy as np
import pytest

from anomalybench.bench.store import weights
from anomalybench.core.errors import StoreError
from anomalybench.deploy import bundle
from anomalybench.deploy.bundle import Bundle


def kept(results, name, *seeds):
    """A job's model with a large array for each seed; returns the shared files by seed."""
    folder = results / "runs" / "toy" / "bolt" / "padim" / name
    folder.mkdir(parents=True)
    state = {f"a{seed}_": np.random.default_rng(seed).normal(size=9000) for seed in seeds}
    card = bundle.write(folder, Bundle(made_models.bundle().card, state), results / "weights")
    return [results / "weights" / f"{card.arrays[f'a{seed}_']}.safetensors" for seed in seeds]


def age(*files, hours=2.0):
    before = time.time() - 3600 * hours
    for file in files:
        os.utime(file, (before, before))


def forget(results, name):
    (results / "runs" / "toy" / "bolt" / "padim" / name / "model.json").unlink()


def test_arrays_that_a_model_names_are_used(tmp_path):
    files = kept(tmp_path, "one", 1, 2)
    age(*files)
    assert all(file.exists() for file in files)
    assert weights.unused(tmp_path) == weights.prune(tmp_path) == []


def test_arrays_that_no_model_names_are_removed(tmp_path):
    shared, own = kept(tmp_path, "one", 1, 2)
    kept(tmp_path, "two", 1)
    age(shared, own)
    forget(tmp_path, "one")
    assert weights.unused(tmp_path) == [own]
    assert weights.prune(tmp_path) == [own]
    assert not own.exists()
    assert bundle.read(tmp_path / "runs" / "toy" / "bolt" / "padim" / "two")


def test_arrays_that_were_just_written_or_used_stay(tmp_path):
    (young,) = kept(tmp_path, "one", 1)
    forget(tmp_path, "one")
    assert weights.unused(tmp_path) == [young]
    assert weights.prune(tmp_path) == []
    age(young)
    (again,) = kept(tmp_path, "two", 1)  # touches it
    forget(tmp_path, "two")
    assert again == young
    assert weights.prune(tmp_path) == []
    age(young, hours=1.1)
    assert weights.prune(tmp_path) == [young]


@pytest.mark.parametrize("text", ['{{"schema_version": 99, "new": ["{0}"]}}', '{{"arrays": {{"a": "{0}'])
def test_cards_of_a_newer_version_or_cut_short_count(tmp_path, text):
    (file,) = kept(tmp_path, "one", 1)
    age(file)
    (tmp_path / "runs" / "toy" / "bolt" / "padim" / "one" / "model.json").write_text(text.format(file.stem))
    assert weights.unused(tmp_path) == []


def test_models_that_are_being_written_count(tmp_path):
    (file,) = kept(tmp_path, ".one.xyz", 1)
    age(file)
    assert weights.prune(tmp_path) == []


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "weights").mkdir()
    mine = tmp_path / "weights" / "mine.safetensors"
    mine.write_bytes(b"")
    age(mine)
    assert weights.prune(tmp_path) == []
    assert mine.exists()


def test_no_results_at_all(tmp_path):
    assert weights.prune(tmp_path / "none") == []


def test_a_card_that_cannot_be_read_stops_it(tmp_path):
    (file,) = kept(tmp_path, "one", 1)
    age(file)
    forget(tmp_path, "one")
    (tmp_path / "runs" / "toy" / "bolt" / "padim" / "two" / "model.json").mkdir(parents=True)
    with pytest.raises(StoreError, match="no shared weights are removed"):
        weights.prune(tmp_path)
    assert file.exists()
