"""Results that come from elsewhere: whatever is in a folder costs that result alone, and neither memory nor time."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import made_records as made
import numpy as np
import pandas as pd
import pytest

from anomalybench.bench.store import Outcome, Store
from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Counts, Measurement, Record, results_of
from anomalybench.deploy.bundle import Bundle
from anomalybench.evaluate import map_codes
from anomalybench.evaluate.uncertainty import RESAMPLES

N = 6
PETABYTES = (2**20, 2**20, 2**10)


def put(store, seed=0):
    choice = Choice(name="toy")
    job = Job(method=choice, version=1, dataset=choice, category="a", protocol=choice, seed=seed)
    rows = {
        "path": [f"{i}.png" for i in range(N)], "split": ["calibration"] * 2 + ["test"] * 4,
        "label": [0, 1] * 3, "defect": ["good", "hole"] * 3, "mask": [None] * N, "group": [None] * N,
        "score": np.linspace(0, 1, N),
    }  # fmt: skip
    record = Record(
        job=job, status="ok", fingerprint="f" * 16, counts=Counts(calibration=2, test=4), map_size=(3, 4),
        measurements=(Measurement(version=1, rule="youden", threshold=0.5, metrics={"auroc": 0.75}),),
    )  # fmt: skip
    maps = map_codes.encode(np.arange(N * 12, dtype=np.float32).reshape(N, 3, 4))
    model = Bundle(made.card(record), {"mean_": np.ones(3)})
    outcome = Outcome(record, pd.DataFrame(rows), maps, {"auroc": np.ones(RESAMPLES)}, model)
    return store.put(outcome)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    put(store, seed=1)
    return store


def folder(store, record):
    return store.folder(record.job, record.fingerprint)


def replaced(store, record, name, contents):
    """The record once a file beside it was replaced and its size is told as it is."""
    (folder(store, record) / name).write_bytes(contents)
    told = record.model_copy(update={"files": record.files | {name: len(contents)}})
    (folder(store, record) / "record.json").write_text(told.model_dump_json())
    (kept,) = [one for one in store.records() if one.job.seed == record.job.seed]
    return kept


def changed(value, *keys):
    """A change of one value of a record's JSON."""

    def change(content):
        *parents, last = keys
        for key in parents:
            content = content[key]
        content[last] = value

    return change


HUGE = 10**400
ODD_RECORDS = {
    **{
        f"{'.'.join(map(str, keys))} = {str(value)[:12]}": changed(value, *keys)
        for keys in [
            ("job",), ("job", "seed"), ("job", "version"), ("job", "method"), ("job", "method", "params"), ("status",),
            ("counts",), ("counts", "test"), ("costs", "fit_s"), ("files",), ("files", "maps.npz"), ("map_size",),
            ("measurements",), ("measurements", 0), ("measurements", 0, "metrics"), ("environment",), ("root",),
            ("measurements", 0, "metrics", "auroc"), ("measurements", 0, "intervals"), ("leaks",), ("notes",),
        ]
        for value in (HUGE, -1.5, [], {}, "x", [[1]], True, float("nan"))
        if (keys[-1], value) not in [
            ("params", {}), ("metrics", {}), ("files", {}), ("environment", {}), ("intervals", {}), ("root", "x"),
            ("measurements", []), ("leaks", []), ("notes", []), ("auroc", -1.5), ("counts", {}), ("fit_s", -1.5),
            ("fit_s", True), ("auroc", True), ("test", True), ("seed", True), ("version", True), ("maps.npz", True),
        ]
    },
    "another schema": changed(3, "schema_version"),
    "an unknown field": changed(1, "more"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_RECORDS)
def test_an_odd_record_is_named_and_costs_that_result_alone(store, name):
    file = folder(store, put(store)) / "record.json"
    content = json.loads(file.read_text())
    ODD_RECORDS[name](content)
    file.write_text(json.dumps(content))
    assert [record.job.seed for record in store.records()] == [1]
    (odd,) = store.unreadable()
    assert odd.folder == file.parent
    assert 0 < len(odd.reason) <= 200


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"job": {"seed": 1' + b"0" * 9000]
)
def test_what_is_no_record_at_all_is_named(store, text):
    file = folder(store, put(store)) / "record.json"
    file.write_bytes(text)
    assert [record.job.seed for record in store.records()] == [1]
    assert [odd.folder for odd in store.unreadable()] == [file.parent]


def archive(**members):
    """An .npz file of arrays, or of bytes as they are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, value in members.items():
            opened.writestr(f"{name}.npy", value if isinstance(value, bytes) else saved(value))
    return stream.getvalue()


def saved(array, shape=None):
    """An array as .npy, claiming another shape if one is given."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
    if shape is None:
        return stream.getvalue()
    head = io.BytesIO()
    claim = {"descr": np.lib.format.dtype_to_descr(np.asarray(array).dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, claim)
    return head.getvalue() + np.asarray(array).tobytes()


def claimed(contents, size=2**50):
    """A zip file whose first member is said to be of that size once unpacked."""
    raw = bytearray(contents)
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = raw.index(mark) + place
        raw[start : start + 4] = min(size, 2**32 - 2).to_bytes(4, "little")
    return bytes(raw)


CODES, VALUES = np.zeros((N, 3, 4), np.uint16), np.arange(2, dtype=np.float32)
NO_ARRAYS = {
    "empty": b"",
    "text": b"hello",
    "half a zip": archive(codes=CODES, values=VALUES)[:150],
    "no .npy": archive(codes=b"hello", values=b""),
    "objects": archive(codes=np.array([{}], object), values=VALUES, auroc=np.array([{}], object)),
    "petabytes": archive(codes=saved(CODES, PETABYTES), auroc=saved(VALUES, PETABYTES), values=VALUES),
    "petabytes in the zip": claimed(archive(codes=saved(CODES, PETABYTES), values=VALUES)),
    "a nested header": archive(codes=b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000, values=VALUES),
    "no such version": archive(codes=b"\x93NUMPY\x09\x00" + b"x" * 100, values=VALUES),
}
NO_MAPS = {
    "another shape": {"codes": CODES[:5], "values": VALUES},
    "flat": {"codes": CODES.ravel(), "values": VALUES},
    "another dtype": {"codes": CODES.astype(np.float32), "values": VALUES},
    "values of another dtype": {"codes": CODES, "values": VALUES.astype(np.float64)},
    "codes without a value": {"codes": CODES + np.uint16(7), "values": VALUES},
    "no values": {"codes": CODES, "values": VALUES[:0]},
    "NaN": {"codes": CODES, "values": np.array([0, np.nan], np.float32)},
    "descending": {"codes": CODES, "values": VALUES[::-1]},
    "one missing": {"codes": CODES},
    "too large": {"codes": np.zeros((N, 300, 400), np.uint16), "values": VALUES},
}


@pytest.mark.parametrize("name", [*NO_ARRAYS, *NO_MAPS])
def test_odd_maps_are_refused(store, name):
    contents = NO_ARRAYS[name] if name in NO_ARRAYS else archive(**NO_MAPS[name])
    record = replaced(store, put(store), "maps.npz", contents)
    with pytest.raises(StoreError, match=r"maps\.npz"):
        store.maps(record)
    assert len(store.scores(record)) == N


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize("contents", [b"", b"{}", b"\xff" * 100, b"PK\x03\x04", b"[" * 100_000])
def test_an_odd_model_is_refused(store, name, contents):
    record = replaced(store, put(store), name, contents)
    with pytest.raises(StoreError, match=re.escape(name)):
        store.model(record)


NO_RESAMPLES = {
    "another length": np.ones(RESAMPLES - 1),
    "a matrix": np.ones((RESAMPLES, 1)),
    "whole numbers": np.ones(RESAMPLES, int),
    "one number": np.float64(1),
}


@pytest.mark.parametrize("name", [*NO_RESAMPLES, *(name for name in NO_ARRAYS if name != "no .npy")])
def test_odd_resamples_are_not_known(store, name):
    contents = NO_ARRAYS[name] if name in NO_ARRAYS else archive(auroc=NO_RESAMPLES[name])
    record = replaced(store, put(store), "resamples.npz", contents)
    (result,) = results_of(record)
    assert store.resample([result])(result.id, "auroc") is None
    store.records()
    assert store.resample([result])(result.id, "auroc") is None
    with pytest.raises(StoreError, match=r"resamples\.npz"):
        store.resamples(record)


def parquet(**columns):
    stream = io.BytesIO()
    pd.DataFrame(columns).to_parquet(stream)
    return stream.getvalue()


def odd_scores(good):
    """Contents of files that are no scores, by name."""
    columns = {name: good[name] for name in good}
    return {
        "empty": b"",
        "text": b"PAR1 hello PAR1",
        "other columns": parquet(x=[1] * N),
        "a column missing": parquet(**{name: columns[name] for name in columns if name != "label"}),
        "fewer rows": parquet(**{name: columns[name][:3] for name in columns}),
        "NaN": parquet(**columns | {"score": [np.nan] * N}),
        "words": parquet(**columns | {"score": ["x"] * N}),
        "lists": parquet(**columns | {"score": [[1.0]] * N}),
        "another label": parquet(**columns | {"label": [2] * N}),
        "half a label": parquet(**columns | {"label": [0.5] * N}),
        "another part": parquet(**columns | {"split": ["train"] * N}),
        "no path": parquet(**columns | {"path": [None] * N}),
    }


@pytest.mark.parametrize("name", odd_scores(pd.DataFrame()))
def test_odd_scores_are_refused(store, name):
    record = put(store)
    record = replaced(store, record, "scores.parquet", odd_scores(store.scores(record))[name])
    with pytest.raises(StoreError, match=r"scores\.parquet"):
        store.scores(record)


READ_ALL = """
import resource, sys
from pathlib import Path
from anomalybench.bench.store import Store
from anomalybench.core.record import results_of
from anomalybench.core.errors import StoreError

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store = Store(Path(sys.argv[1]))
for record in store.records():
    for read in (store.maps, store.resamples, store.model):
        try:
            read(record)
        except StoreError:
            print("refused")
    (result,) = results_of(record)
    store.resample([result])(result.id, "auroc")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_claims_of_petabytes_and_files_that_swell_take_no_memory(store, tmp_path):
    """500 KB that unpack to half a gigabyte, and headers that claim far more."""
    swelling = archive(codes=saved(np.zeros(2**26), (2**26,)), auroc=saved(np.zeros(2**26), (2**26,)))
    assert len(swelling) < 2_000_000
    for seed, contents in enumerate([NO_ARRAYS["petabytes"], NO_ARRAYS["petabytes in the zip"], swelling], 2):
        record = put(store, seed)
        for name in ("maps.npz", "resamples.npz"):
            record = replaced(store, record, name, contents)
    command = [sys.executable, "-c", READ_ALL, store.results]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    *refused, megabytes = done.stdout.split()
    assert len(refused) == 6
    assert int(megabytes) < 200


def test_a_record_of_gigabytes_is_none_and_is_not_read_to_the_end(store):
    file = folder(store, put(store)) / "record.json"
    with file.open("r+b") as stream:
        stream.truncate(2**33)  # a hole: it takes no room on the disk
    assert [record.job.seed for record in store.records()] == [1]


def test_a_results_folder_that_was_copied_holds_the_same(store, tmp_path):
    before = store.records()
    shutil.copytree(store.results, tmp_path / "copy")
    assert Store(tmp_path / "copy").records() == before
