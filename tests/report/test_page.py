import json
import re
import shlex

import made_records as made
import numpy as np
import pandas as pd
import pytest
import typer
from read_page import Scripts, data_of, written
from typer.testing import CliRunner

from anomalybench.bench.request import Request
from anomalybench.bench.session import Session
from anomalybench.cli.options import with_request
from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice
from anomalybench.core.record import Explanation, Measurement, Record
from anomalybench.report import card, leaderboard, marks, page, page_data, pictures, remarks

NASTY = "</script><script>alert(1)</script>'\"&🐛 \u2028" + "x" * 300


def test_numbers_are_those_of_the_leaderboard(store, put):
    records = [put(made.job(name), gap=2 - i / 2, seed=i) for i, name in enumerate(("cam", "fcdd", "random"))]
    data = data_of(written(records, store))
    results = made.results(store)
    for expected in leaderboard.build(results, store.resample(results)).leaderboard.to_dict("records"):
        (row,) = [row for row in data["rows"] if row["method"] == expected["method"]]
        for name, value in row["values"].items():
            assert value == (None if np.isnan(expected[name]) else expected[name])
        for name in ("auroc", "balanced_accuracy"):
            limits = [expected[f"{name}_low"], expected[f"{name}_high"]]
            assert row["intervals"][name] == pytest.approx(limits, abs=1e-6)
        assert (row["tied"], row["below"]) == (expected["tied_with_best"], marks.not_above_a_floor(expected))
    assert [job["kind"] for job in data["jobs"]] == ["ours", "ours", "floor"]


def test_scores_and_labels_are_the_record_s_own(store, put):
    record = put(made.job("cam"))
    (job,) = data_of(written([record], store))["jobs"]
    table = store.scores(record)
    for part in ("calibration", "test"):
        expected = table[table["split"] == part]
        assert job[part]["score"] == expected["score"].tolist()
        assert job[part]["label"] == expected["label"].tolist()


def test_mistakes_come_first_and_then_what_is_far_from_the_threshold(store, put):
    record = put(made.job("cam"), gap=0.5)
    threshold = record.measurements[0].threshold
    table = store.scores(record)
    test = table[table["split"] == "test"]
    order = test.loc[pictures.most_telling(test, threshold)]
    wrong = (order["score"] > threshold) != (order["label"] == 1)
    assert 0 < wrong.sum() < len(order)
    assert wrong.tolist() == sorted(wrong, reverse=True)
    for part in (order[wrong], order[~wrong]):
        assert (part["score"] - threshold).abs().is_monotonic_decreasing


def test_the_page_does_not_depend_on_the_order_of_the_records(store, put):
    records = [put(made.job(f"m{i}"), seed=i) for i in range(3)]
    assert written(records, store) == written(records[::-1], store)


def test_names_are_data_and_nothing_is_fetched(store, tmp_path):
    images = made.draw_images(tmp_path / "data", "bolt", 8, defects=(NASTY,))
    job = made.job("cam", category=NASTY)
    failed = store.put(made.Outcome(made.lost(made.job("fcdd"), error=NASTY, traceback=NASTY, bad_input=True)))
    text = written([made.put(store, tmp_path / "data", job, images), failed], store, title=NASTY)
    parts = Scripts(text)
    assert parts.tags.count("script") == len(parts.scripts) == 2
    data = json.loads(parts.scripts[0])
    assert {job["category"] for job in data["jobs"]} == {NASTY, "bolt"}
    assert {NASTY} < {image["defect"] for image in data["images"]} | {"good"}
    assert NASTY in [job["error"] for job in data["jobs"]]
    assert not re.findall(r"(?:src|href)=[\"'](?!#|data:)", text)
    assert "innerHTML" not in text
    assert text.count("default-src 'none'") == 1


def test_records_of_an_older_version(store, put):
    record = put(made.job("cam"))
    folder = made.folder(store, record)
    for name in ("scores.parquet", "maps.npz", "resamples.npz"):
        (folder / name).unlink()
    bare = record.measurements[0].model_copy(update={"intervals": {}})
    old = record.model_copy(update={"measurements": (bare,), "environment": {}, "files": {}})
    (folder / "record.json").write_text(old.model_dump_json())
    broken = folder.with_name("0000")
    broken.mkdir()
    (broken / "record.json").write_text('{"job": "of another time"}')
    (read,) = store.records()
    data = data_of(written([read], store, notices=remarks.left_out(store)))
    said = " ".join(data["notices"])
    for words in ("Left out: 1 damaged job folder", "no raw scores", "no intervals"):
        assert words in said
    assert "test" not in data["jobs"][0]
    assert data["rows"][0]["values"]["auroc"] == record.measurements[0].metrics["auroc"]


@pytest.mark.parametrize(
    "codes", [np.zeros((3, 2, 2), np.uint16), np.zeros((32, 4)), np.full((32, 2, 2), np.nan), None]
)
def test_maps_of_no_use_are_left_out(store, put, codes):
    record = put(made.job("cam"))
    file = made.folder(store, record) / "maps.npz"
    if codes is None:
        file.write_bytes(b"")
    else:
        np.savez_compressed(file, codes=codes, values=np.zeros(1, np.float32))
    (job,) = data_of(written([record], store))["jobs"]
    assert job["maps"] == {}


def test_scores_without_paths_are_left_out(store, put):
    record = put(made.job("cam"))
    file = made.folder(store, record) / "scores.parquet"
    pd.read_parquet(file).assign(path=None).to_parquet(file)
    assert "no raw scores" in " ".join(data_of(written([record], store))["notices"])


def test_resamples_that_cannot_be_read_leave_ties_unknown(store, put):
    records = [put(made.job(name), seed=i) for i, name in enumerate(("cam", "fcdd"))]
    for record in records:
        (made.folder(store, record) / "resamples.npz").write_bytes(b"")
    assert sorted(row["tied"] is None for row in data_of(written(records, store))["rows"]) == [False, True]


def test_a_suite_of_which_everything_failed(store):
    records = [made.lost(made.job(name)) for name in ("cam", "fcdd")]
    data = data_of(written(records, store))
    assert "No job has finished" in data["notices"][0]
    assert [row["status"] for row in data["rows"]] == ["failed", "failed"]


def test_defect_types_by_methods(store, put):
    judged = {"cam": {"crack": 0.25, "stain": 1.0, "good": 0.5}, "fcdd": {"crack": 0.75, "good": 1.0}}
    records = [put(made.job(name), accuracy_by_defect=of) for name, of in judged.items()]
    (table,) = data_of(written(records, store))["defects"]
    assert table["methods"] == ["fcdd", "cam"]
    assert list(table["shares"].items()) == [("crack", [0.75, 0.25]), ("stain", [None, 1.0]), ("good", [1.0, 0.5])]
    assert data_of(written([put(made.job("cam"), accuracy_by_defect=judged["fcdd"])], store))["defects"] == []


def test_the_words_are_explained(store, put):
    data = data_of(written([put(made.job("cam"))], store))
    assert {"job", "suite", "floor", "oracle", "calibration", "protocol", "tied with the best"} <= data["terms"].keys()


def test_thresholds_beyond_all_numbers_are_null(store, put):
    assert page_data.plain({"a": float("-inf"), "b": [float("nan"), np.float32(0.5)]}) == {"a": None, "b": [None, 0.5]}
    assert written([put(made.job("cam"), threshold=float("-inf"))], store)


def test_names_do_not_turn_the_numbers_beside_them(store, put):
    text = written([put(made.job("m\u202ex"))], store)
    assert data_of(text)["rows"][0]["method"] == "m\ufffdx"
    assert "\\u202e" not in text


def test_mean_ranks_are_given_where_methods_share_categories(store, tmp_path):
    records = []
    for category in ("bolt", "nut"):
        images = made.draw_images(tmp_path / "data", category, 8)
        jobs = [made.job(f"m{i}", category) for i in range(3)]
        records += [made.put(store, tmp_path / "data", job, images, seed=i) for i, job in enumerate(jobs)]
    data = data_of(written(records, store))
    (ranking,) = [one for one in data["rankings"] if one["metric"] == "auroc"]
    assert sorted(ranking["methods"]) == ["m0", "m1", "m2"]
    assert sum(ranking["ranks"]) == pytest.approx(6)
    assert {row["category"] for row in data["rows"]} == {"", "bolt", "nut"}


def test_a_page_that_cannot_be_written_is_an_error(store, put, tmp_path):
    record = put(made.job("cam"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out FILE"):
        page.write("toy", [made.result(record)], store, tmp_path / "file" / "page.html")
    assert not list(tmp_path.glob("**/.anomalybench-aside*"))


@pytest.mark.parametrize(
    ("options", "category"),
    [
        (["--methods", "patchcore,padim", "--set", "padim.regulariser=0.00001"], "tablet"),
        (["--methods", "cam", "--protocol", "kfold", "--set", "kfold.k=2", "--seeds", "3"], "weave"),
        (["--methods", "fcdd", "--threshold", "fpr", "--set", "fpr.q=1.0e-5", "--explain", "2"], "disc"),
    ],
)
def test_the_command_makes_the_same_job_again(options, category):
    asked = []

    def keep(request: Request) -> None:
        asked.append(request)

    app = typer.Typer()
    app.command()(with_request()(keep))

    def loaded(words):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        return Session(asked.pop()).suite

    first = loaded([*options, "--no-floors", "--dataset", "synthetic", "--categories", category])
    for job in first.jobs:
        measured = Measurement(version=1, choice=first.options.threshold, rule="youden", threshold=0.5)
        explained = Explanation(images=first.options.explain, metrics={}) if first.options.explain else None
        done = Record(job=job, status="ok", measurements=(measured,), explanation=explained)
        words = shlex.split(card.command(made.result(done)))
        assert words[:2] == ["anomalybench", "run"]
        again = loaded(words[2:])
        assert job.id in [one.id for one in again.jobs]
        assert again.options == first.options


def test_the_command_for_another_tool_s_scores(store, put):
    record = put(made.job("external:my tool", "a,b"), choice=Choice(name="fpr", params={"q": 0.1}, chosen=("q",)))
    words = shlex.split(card.command(made.result(record)))
    assert words[:5] == ["anomalybench", "score", "FILE", "--name", "my tool"]
    assert 'toy.categories=["a,b"]' in words
    assert words[words.index("--threshold") + 1] == "fpr"
    assert "fpr.q=0.1" in words
