import json
import re
import shlex
from html.parser import HTMLParser

import made_records as made
import numpy as np
import pandas as pd
import pytest

from anomalybench.bench.store import Store
from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice
from anomalybench.report import card, leaderboard, page, page_data, pictures

NASTY = "</script><script>alert(1)</script>'\"&🐛 \u2028" + "x" * 300


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def put(store, tmp_path):
    """Stores a job of 8 + 8 test images."""
    images = made.draw_images(tmp_path / "data", "bolt", 16)
    return lambda job, **changes: made.put(store, tmp_path / "data", job, images, **changes)


class Scripts(HTMLParser):
    """Which elements a page has, and what is in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def written(records, store, title="toy", **options):
    file = page.place(store, title)
    page.write(title, records, store, file, **options)
    return file.read_text(encoding="utf-8")


def data_of(text):
    data, _ = Scripts(text).scripts
    return json.loads(data)


def test_numbers_are_those_of_the_leaderboard(store, put):
    records = [put(made.job(name), gap=2 - i / 2, seed=i) for i, name in enumerate(("cam", "fcdd", "random"))]
    data = data_of(written(records, store))
    resamples = store.resample(record.job for record in records)
    for expected in leaderboard.build(records, resamples).leaderboard.to_dict("records"):
        (row,) = [row for row in data["rows"] if row["method"] == expected["method"]]
        for name, value in row["values"].items():
            assert value == (None if np.isnan(expected[name]) else expected[name])
        for name in ("auroc", "balanced_accuracy"):
            limits = [expected[f"{name}_low"], expected[f"{name}_high"]]
            assert row["intervals"][name] == pytest.approx(limits, abs=1e-6)
        above = expected["above_floors"]
        assert (row["tied"], row["below"]) == (expected["tied_with_best"], None if above is None else not above)
    assert [job["kind"] for job in data["jobs"]] == ["ours", "ours", "floor"]


def test_scores_and_labels_are_the_record_s_own(store, put):
    record = put(made.job("cam"))
    (job,) = data_of(written([record], store))["jobs"]
    table = store.scores(record.job)
    for part in ("calibration", "test"):
        expected = table[table["split"] == part]
        assert job[part]["score"] == expected["score"].tolist()
        assert job[part]["label"] == expected["label"].tolist()


def test_an_image_is_kept_once_however_many_methods_saw_it(store, put):
    records = [put(made.job(f"m{i}"), seed=i) for i in range(3)]
    data = data_of(written(records, store, max_images=4))
    assert len(data["images"]) == 16
    assert sum("large" in image for image in data["images"]) == 4
    assert all("thumb" in image for image in data["images"])
    for job in data["jobs"]:
        assert len(job["maps"]) == 4
    assert sum("thumb" in image for image in data_of(written(records, store, max_images=1))["images"]) == 5
    assert not any("thumb" in image for image in data_of(written(records, store, max_images=0))["images"])


def test_mistakes_come_first_and_then_what_is_far_from_the_threshold(store, put):
    record = put(made.job("cam"), gap=0.5)
    table = store.scores(record.job)
    test = table[table["split"] == "test"]
    order = test.loc[pictures.most_telling(test, record.threshold)]
    wrong = (order["score"] > record.threshold) != (order["label"] == 1)
    assert 0 < wrong.sum() < len(order)
    assert wrong.tolist() == sorted(wrong, reverse=True)
    for part in (order[wrong], order[~wrong]):
        assert (part["score"] - record.threshold).abs().is_monotonic_decreasing


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


def test_paths_that_leave_the_data_folder_are_not_followed(tmp_path):
    made.draw_images(tmp_path, "bolt", 2)
    for path in ("../bolt/000.png", str(tmp_path / "bolt" / "000.png")):
        source = pictures.Source(str(tmp_path / "bolt"), path, None, 0, "good")
        (picture,) = pictures.draw({source: True})
        assert "outside" in picture["missing"]


def test_images_that_are_gone_are_named(store, put, tmp_path):
    record = put(made.job("cam"), root=str(tmp_path / "moved"))
    data = data_of(written([record], store))
    assert all("missing" in image for image in data["images"])
    assert any("16 of 16 images cannot be shown" in notice for notice in data["notices"])


def test_a_mask_that_is_gone_costs_only_the_outline(store, put, tmp_path):
    record = put(made.job("cam"))
    for mask in (tmp_path / "data").rglob("*_mask.png"):
        mask.unlink()
    data = data_of(written([record], store))
    images = data["images"]
    assert all("large" in image for image in images)
    assert "8 of 16 images are shown without the outline" in " ".join(data["notices"])
    assert [image["path"] for image in images if "missing" in image] == [i["path"] for i in images if i["label"]]


def test_records_of_an_older_version(store, put):
    record = put(made.job("cam"))
    folder = store.folder(record.job)
    for name in ("scores.parquet", "maps.npz", "resamples.npz"):
        (folder / name).unlink()
    old = record.model_copy(update={"intervals": {}, "environment": {}, "files": {}})
    (folder / "record.json").write_text(old.model_dump_json())
    broken = folder.with_name("0000")
    broken.mkdir()
    (broken / "record.json").write_text('{"job": "of another time"}')
    (read,) = store.records()
    data = data_of(written([read], store, notices=page.left_out(store)))
    said = " ".join(data["notices"])
    for words in ("1 of 2 jobs are left out", "no raw scores", "no intervals"):
        assert words in said
    assert "test" not in data["jobs"][0]
    assert data["rows"][0]["values"]["auroc"] == record.metrics["auroc"]


@pytest.mark.parametrize("maps", [np.zeros((3, 2, 2)), np.zeros((32, 4)), np.full((32, 2, 2), np.nan), None])
def test_maps_of_no_use_are_left_out(store, put, maps):
    record = put(made.job("cam"))
    file = store.folder(record.job) / "maps.npz"
    if maps is None:
        file.write_bytes(b"")
    else:
        np.savez_compressed(file, maps=maps.astype(np.float16))
    (job,) = data_of(written([record], store))["jobs"]
    assert job["maps"] == {}


@pytest.mark.parametrize("mask", [5, "nul\0.png", "bolt"])
def test_masks_that_cannot_be_read_cost_only_the_outline(store, put, mask):
    record = put(made.job("cam"))
    file = store.folder(record.job) / "scores.parquet"
    pd.read_parquet(file).assign(mask=mask).to_parquet(file)
    data = data_of(written([record], store, max_images=4))
    assert sum("large" in image for image in data["images"]) == 4
    assert "its mask cannot be read" in " ".join(data["notices"])


def test_scores_without_paths_are_left_out(store, put):
    record = put(made.job("cam"))
    file = store.folder(record.job) / "scores.parquet"
    pd.read_parquet(file).assign(path=None).to_parquet(file)
    assert "no raw scores" in " ".join(data_of(written([record], store))["notices"])


def test_resamples_that_cannot_be_read_leave_ties_unknown(store, put):
    records = [put(made.job(name), seed=i) for i, name in enumerate(("cam", "fcdd"))]
    for record in records:
        (store.folder(record.job) / "resamples.npz").write_bytes(b"")
    assert sorted(row["tied"] is None for row in data_of(written(records, store))["rows"]) == [False, True]


def test_a_suite_of_which_everything_failed(store):
    records = [made.lost(made.job(name)) for name in ("cam", "fcdd")]
    data = data_of(written(records, store))
    assert "No job has finished" in data["notices"][0]
    assert [row["status"] for row in data["rows"]] == ["failed", "failed"]


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
        page.write("toy", [record], store, tmp_path / "file" / "page.html")
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
    from anomalybench.bench import suite
    from anomalybench.cli import options as cli

    def loaded(words):
        named = dict(zip(words[::2], words[1::2], strict=True))
        settings = [value for key, value in zip(words[::2], words[1::2], strict=True) if key == "--set"]
        request = suite.Request(
            methods=cli.split(named["--methods"]), dataset=named["--dataset"], protocol=named.get("--protocol"),
            categories=cli.split(named.get("--categories", "")), seeds=cli.seeds(named.get("--seeds", "")),
            threshold=named.get("--threshold"), explain=int(named.get("--explain", 0)), params=cli.settings(settings),
        )  # fmt: skip
        return suite.load(request).jobs

    for job in loaded([*options, "--dataset", "synthetic", "--categories", category]):
        words = shlex.split(card.command(made.lost(job)))
        assert words[:2] == ["anomalybench", "run"]
        assert job.id in [again.id for again in loaded(words[2:])]


def test_the_command_for_another_tool_s_scores():
    words = shlex.split(card.command(made.lost(made.job("external:my tool", "a,b", threshold=Choice(name="youden")))))
    assert words[:5] == ["anomalybench", "score", "FILE", "--name", "my tool"]
    assert 'toy.categories=["a,b"]' in words
