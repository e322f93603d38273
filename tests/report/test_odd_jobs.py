"""Odd jobs in a results folder from elsewhere: each is named, and the rest stands."""

import io
import json
import zipfile

import made_records as made
import numpy as np
import pytest
from read_page import data_of, written

from anomalybench.report import figures, leaderboard, remarks, verdicts


def huge(file, name):
    """An array of which the header claims 3 PiB."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(f"{name}.npy", stream.getvalue() + b"\0" * 64)


def edited(folder, change):
    """Change the record's JSON; sizes of files are set right again."""
    file = folder / "record.json"
    content = json.loads(file.read_text())
    change(content)
    content["files"] = {name: (folder / name).stat().st_size for name in content["files"]}
    file.write_text(json.dumps(content))


def metric(value):
    return lambda folder: edited(folder, lambda content: content["measurements"][0]["metrics"].update(auroc=value))


def counts(folder):
    edited(folder, lambda content: content["counts"].update(test=10**400))


def resamples(**arrays):
    def spoil(folder):
        np.savez(folder / "resamples.npz", **arrays)
        edited(folder, lambda content: None)

    return spoil


def claimed(name, array):
    def spoil(folder):
        huge(folder / name, array)
        edited(folder, lambda content: None)

    return spoil


def objects(folder):
    np.savez(folder / "maps.npz", codes=np.array([None, 1], object), values=np.zeros(1))
    edited(folder, lambda content: None)


def no_scores(folder):
    (folder / "scores.parquet").write_bytes(b"PAR1")
    edited(folder, lambda content: None)


UNREADABLE = {"text as a metric": metric("much"), "a huge metric": metric(10**400), "huge counts": counts}
READABLE = {
    "resamples of another length": resamples(auroc=np.ones(7, np.float32)),
    "resamples of another shape": resamples(auroc=np.ones((3, 4), np.float32)),
    "resamples as text": resamples(auroc=np.array(["a", "b"])),
    "resamples of 3 PiB": claimed("resamples.npz", "auroc"),
    "maps of 3 PiB": claimed("maps.npz", "codes"),
    "maps of objects": objects,
    "scores that are none": no_scores,
}


@pytest.fixture
def three(store, put):
    for i, name in enumerate(("cam", "fcdd", "odd")):
        put(made.job(name), seed=i)
    return store


def spoiled(store, spoil):
    (record,) = [record for record in store.records() if record.job.method.name == "odd"]
    spoil(made.folder(store, record))


def rest_stands(store):
    """Tables, page, figures and comparison of the two others."""
    results = made.results(store)
    tables = leaderboard.build(results, store.resample(results))
    (cam,) = tables.leaderboard.loc[tables.leaderboard["method"] == "cam"].to_dict("records")
    assert cam["auroc_low"] < cam["auroc"] <= cam["auroc_high"]
    data = data_of(written(store.records(), store, notices=remarks.left_out(store)))
    assert {"cam", "fcdd"} <= {row["method"] for row in data["rows"]}
    drawn = figures.draw_all(results, store)
    assert all("odd" in name for name in drawn.lost)
    assert len(drawn.files) >= 8
    (compared,) = verdicts.comparisons(store, None, None, [], "auroc")
    assert any({pair.a, pair.b} == {"cam", "fcdd"} and pair.whole.p >= 0 for pair in compared.pairs)
    return data, drawn


@pytest.mark.parametrize("spoil", UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_that_is_none_is_left_out_and_named(three, cli, spoil):
    spoiled(three, spoil)
    data, _ = rest_stands(three)
    assert "odd" not in {row["method"] for row in data["rows"]}
    assert "Left out: 1 damaged job folder (first: runs/toy/bolt/odd" in " ".join(data["notices"])
    for command in (["leaderboard"], ["compare"], ["figures"], ["report"]):
        done = cli(*command, "--results", three.results)
        assert done.exit_code == 0, done.text
        if command != ["report"]:
            assert "Left out: 1 damaged job folder" in " ".join(done.text.split()), command


@pytest.mark.parametrize("spoil", READABLE.values(), ids=READABLE)
def test_arrays_that_are_none_cost_only_what_is_made_of_them(three, spoil):
    spoiled(three, spoil)
    data, drawn = rest_stands(three)
    assert "odd" in {row["method"] for row in data["rows"]}
    if spoil in (objects, no_scores, READABLE["maps of 3 PiB"]):
        assert [name for name in drawn.lost if name.startswith("odd")]
