"""A model's folder: whole and its own, or refused with its name."""

import json

import made_records as made
import numpy as np
import pytest

from anomalybench.core.errors import StoreError
from anomalybench.core.record import Measurement, Record
from anomalybench.deploy import bundle
from anomalybench.deploy.bundle import Bundle

RNG = np.random.default_rng(0)
STATE = {
    "weights": RNG.normal(size=(100, 200)).astype(np.float32), "small": np.arange(3), "alone": np.array(2.5),
    "flags": np.array([True, False]), "turned": RNG.normal(size=(200, 120)).T, "none": np.zeros((0, 4)),
}  # fmt: skip
RECORD = Record(job=made.job("cam"), status="ok", measurements=(Measurement(version=1, rule="youden", threshold=0.5),))
CARD = made.card(RECORD)


def written(folder, shared=None):
    folder.mkdir(parents=True, exist_ok=True)
    bundle.write(folder, Bundle(CARD, STATE), shared)
    return folder


def same(state):
    return state.keys() == STATE.keys() and all(
        np.array_equal(state[name], STATE[name]) and state[name].dtype == STATE[name].dtype for name in STATE
    )


@pytest.mark.parametrize("share", [False, True])
def test_what_is_written_comes_back(tmp_path, share):
    folder = tmp_path / "runs" / "a" / "b" / "c" / "job"
    written(folder, tmp_path / "weights" if share else None)
    card, state = bundle.read(folder)
    assert same(state)
    assert card.model_copy(update={"arrays": {}}) == CARD


def test_a_large_array_lies_once_in_a_results_folder(tmp_path):
    for name in ("one", "two"):
        folder = written(tmp_path / "runs" / "a" / "b" / "c" / name, tmp_path / "weights")
        assert (folder / "weights.safetensors").stat().st_size < STATE["weights"].nbytes
        assert same(bundle.read(folder).state)
    assert len(list((tmp_path / "weights").iterdir())) == 2


def test_a_damaged_shared_array_is_refused_and_written_again_by_the_next_model(tmp_path):
    folder, shared = tmp_path / "runs" / "a" / "b" / "c" / "one", tmp_path / "weights"
    written(folder, shared)
    for file in shared.iterdir():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.raises(StoreError, match="is another one"):
        bundle.read(folder)
    written(folder.with_name("two"), shared)
    assert same(bundle.read(folder).state)


def test_a_model_moved_away_from_what_it_shares_names_the_array(tmp_path):
    folder = written(tmp_path / "a" / "runs" / "x", tmp_path / "a" / "weights")
    folder.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match=r"'(weights|turned)' is missing"):
        bundle.read(tmp_path / "moved")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_file_cut_short_is_refused_by_name(tmp_path, name, length):
    file = written(tmp_path) / name
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(StoreError, match=name):
        bundle.read(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_missing_file_is_named(tmp_path, name):
    (written(tmp_path) / name).unlink()
    with pytest.raises(StoreError, match=name):
        bundle.read(tmp_path)


def test_a_newer_layout_says_what_to_install(tmp_path):
    file = written(tmp_path) / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 2, "new": 1}))
    with pytest.raises(StoreError, match="newer"):
        bundle.read(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    one, other = written(tmp_path / "one"), tmp_path / "other"
    other.mkdir()
    bundle.write(other, Bundle(CARD, STATE | {"small": np.arange(1, 4)}))
    (other / "weights.safetensors").replace(one / "weights.safetensors")
    with pytest.raises(StoreError, match="'small' is another one"):
        bundle.read(one)


def test_a_hash_cannot_name_a_file_elsewhere(tmp_path):
    written(tmp_path / "runs" / "x", tmp_path / "weights")
    file = tmp_path / "runs" / "x" / "model.json"
    content = json.loads(file.read_text())
    content["arrays"]["weights"] = "../../secret"
    file.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="'weights'"):
        bundle.read(tmp_path / "runs" / "x")


def test_a_state_that_safetensors_cannot_hold_is_named():
    odd = {"a": np.zeros(2), "text": np.array(["x"]), "swapped": np.zeros(2, ">f4")}
    assert bundle.unfit(odd) == "its state holds arrays that cannot be kept: text (<U1), swapped (>f4)"
    assert bundle.unfit(STATE) is None


def test_no_folder_and_no_model_are_told_apart(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        bundle.read_card(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"no model, since there is no model\.json"):
        bundle.read_card(tmp_path)
