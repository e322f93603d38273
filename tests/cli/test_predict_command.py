"""`predict`, `fit` and `--keep-models` as a user types them."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anomalybench
from anomalybench.bench.store import Store
from anomalybench.deploy import predictions_file

FAST = ("--set", "pixel_knn.size=8")


@pytest.fixture
def ran(cli, images, tmp_path):
    """A results folder with a finished run on bolts and nuts."""
    results = tmp_path / "results"
    words = ("--dataset", "mvtec_ad", "--data", images, "--methods", "pixel_knn", *FAST, "--results", results)
    assert cli("run", *words).exit_code == 0
    return results


@pytest.fixture
def bolt(ran, cli):
    """The same, its bolt model promoted."""
    (job,) = [r.id for r in Store(ran).records() if r.job.category == "bolt" and r.job.method.name == "pixel_knn"]
    assert cli("models", "promote", job, "--as", "bolt", "--results", ran).exit_code == 0
    return ran


@pytest.fixture
def new(tmp_path):
    """A good image, a defective one, and a file that is no image."""
    folder = tmp_path / "new"
    folder.mkdir()
    Image.fromarray(np.full((12, 20, 3), 105, np.uint8)).save(folder / "good.png")
    Image.fromarray(np.full((8, 8, 3), 240, np.uint8)).save(folder / "bad.png")
    (folder / "broken.png").write_text("no image")
    return folder


def table(text):
    return {row["path"].rpartition("/")[2]: row for row in csv.DictReader(io.StringIO(text))}


def test_rows_go_to_standard_output_and_the_rest_to_standard_error(bolt, cli, new):
    done = cli("predict", "bolt", new, "--results", bolt)
    rows = table(done.stdout)
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "good.png": "normal", "bad.png": "anomalous", "broken.png": "unreadable",
    }  # fmt: skip
    assert "cannot be read as an image" in rows["broken.png"]["reason"]
    assert json.loads(rows["good.png"]["boxes"]) == []
    assert (done.exit_code, "2 images: 1 anomalous, 1 normal" in done.stderr) == (1, True)


@pytest.mark.parametrize(("which", "code"), [("good.png", 0), ("bad.png", 3)])
def test_a_script_learns_of_an_anomaly_by_the_exit_code(bolt, cli, new, which, code):
    assert cli("predict", "bolt", new / which, "--fail-on-anomaly", "--results", bolt).exit_code == code
    assert cli("predict", "bolt", new / which, "--results", bolt).exit_code == 0


def test_a_job_a_version_and_a_folder_give_the_same_scores(bolt, cli, new, tmp_path):
    model = anomalybench.load_model(bolt / "models" / "bolt" / "1")
    asked = ["bolt", "bolt/1", bolt / "models" / "bolt" / "1", model.card.record[:6]]
    found = [
        table(cli("predict", name, new / "bad.png", "--results", bolt).stdout)["bad.png"]["score"] for name in asked
    ]
    assert set(found) == {str(model(new / "bad.png").score)}


def test_maps_and_overlays_are_named_after_their_images(bolt, cli, new, tmp_path):
    out = tmp_path / "out.parquet"
    cli("predict", "bolt", new, "--out", out, "--maps", tmp_path / "m", "--overlays", tmp_path / "o", "--results", bolt)
    assert np.load(tmp_path / "m" / "good.png.npy").shape == (8, 8)
    with Image.open(tmp_path / "o" / "good.png.png") as overlay:
        assert overlay.size == (20, 12)
    assert not (tmp_path / "m" / "broken.png.npy").exists()
    assert len(predictions_file.read(out)) == 3


def test_pictures_stay_below_their_folder_wherever_the_images_are(bolt, cli, new, tmp_path, monkeypatch):
    (tmp_path / "line").mkdir()
    monkeypatch.chdir(tmp_path / "line")
    (tmp_path / "line" / "b.png").write_bytes((new / "bad.png").read_bytes())
    done = cli("predict", "bolt", "../new/good.png", "b.png", "--overlays", tmp_path / "o", "--results", bolt)
    assert done.exit_code == 0, done.text
    written = sorted(str(file.relative_to(tmp_path / "o")) for file in (tmp_path / "o").rglob("*.png"))
    assert written == ["line/b.png.png", "new/good.png.png"]
    assert len(table(done.stdout)) == 2
    assert "written" not in done.stdout


def test_a_method_without_maps_says_so_before_the_first_image(ran, cli, new, tmp_path):
    (job,) = [r.id for r in Store(ran).records() if r.job.category == "bolt" and r.job.method.name == "brightness"]
    out = tmp_path / "t.csv"
    cli("predict", job, new, "--out", out, "--maps", tmp_path / "m", "--results", ran).assert_refused("cannot locate")
    assert not out.exists()


def test_images_in_memory_are_judged_as_files_are(bolt, new):
    model = anomalybench.load_model(bolt / "models" / "bolt" / "1")
    with Image.open(new / "bad.png") as picture:
        verdicts = [model(new / "bad.png"), model(np.asarray(picture)), model(picture)]
    assert {(one.score, one.verdict, one.boxes) for one in verdicts} == {
        (verdicts[0].score, "anomalous", verdicts[0].boxes)
    }
    assert verdicts[0]._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bolts", "NEW"], ["no model", "Did you mean bolt"]),
        (["bolt/7", "NEW"], ["7"]),
        (["bolt", "nowhere"], ["nowhere", "no such file or folder"]),
        (["bolt", "NEW/*.tif"], ["no file fits"]),
        (["bolt", "EMPTY"], ["no images in this folder"]),
        (["bolt", "NEW", "--out", "OUT.xlsx"], [".csv, .jsonl, .parquet"]),
        (["bolt", "NEW", "--engine", "tensorrt"], ["torch, onnx, openvino"]),
        (["bolt", "NEW", "--engine", "onnx"], ["export"]),
        (["bolt", "NEW", "--watch", "--out", "OUT.parquet"], ["cannot grow"]),
        (["bolt", "NEW/good.png", "--watch"], ["follows a folder"]),
        (["bolt", "NEW", "--overlays", "NEW/overlays"], ["lies in the folder of the images"]),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(bolt, cli, new, tmp_path, words, said):
    (tmp_path / "EMPTY").mkdir()
    typed = [word.replace("NEW", str(new)).replace("EMPTY", str(tmp_path / "EMPTY")) for word in words]
    typed = [word.replace("OUT", str(tmp_path / "table")) for word in typed]
    done = cli("predict", *typed, "--results", bolt)
    done.assert_refused(*said)
    assert not done.stdout
    if "--out" not in typed:
        cli("predict", *typed, "--out", tmp_path / "t.csv", "--results", bolt).assert_refused(*said)
        assert not (tmp_path / "t.csv").exists()


def test_a_table_that_is_there_stays(bolt, cli, new, tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    cli("predict", "bolt", new, "--out", tmp_path / "t.csv", "--results", bolt).assert_refused("is there already")
    assert (tmp_path / "t.csv").read_text() == "mine"


@pytest.mark.parametrize("damage", ["cut", "newer", "gone"])
def test_a_damaged_model_is_named(bolt, cli, new, damage):
    folder = bolt / "models" / "bolt" / "1"
    if damage == "cut":
        file = folder / "weights.safetensors"
        file.write_bytes(file.read_bytes()[:50])
    elif damage == "newer":
        card = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(card | {"schema_version": 9}))
    else:
        (folder / "weights.safetensors").unlink()
    cli("predict", "bolt", new, "--results", bolt).assert_refused(
        {"cut": "weights.safetensors", "newer": "newer anomalybench", "gone": "is missing"}[damage]
    )


def test_a_fixed_threshold_is_said_to_be_no_fitted_one(cli, images, tmp_path, new):
    results = tmp_path / "fixed"
    words = ("--dataset", "mvtec_ad", "--data", images, "--categories", "bolt", "--methods", "pixel_knn", "--no-floors")
    cli("run", *words, "--threshold", "fixed", "--set", "fixed.t=2.5", *FAST, "--results", results)
    (record,) = Store(results).records()
    done = cli("predict", record.id, new / "good.png", "--results", results)
    assert "never fitted" in done.stderr
    assert table(done.stdout)["good.png"]["threshold"] == "2.5"


def test_another_threshold_rule_decides_where_it_is_named(ran, cli, images, new):
    words = ("--dataset", "mvtec_ad", "--data", images, "--methods", "pixel_knn", *FAST, "--results", ran)
    cli("run", *words, "--threshold", "fixed", "--set", "fixed.t=0.001")
    (record,) = [r for r in Store(ran).records() if r.job.category == "bolt" and r.job.method.name == "pixel_knn"]
    done = cli("predict", f"{record.id}@fixed(t=0.001)", new / "good.png", "--results", ran)
    assert table(done.stdout)["good.png"]["threshold"] == "0.001"


def test_a_watched_folder_is_followed_and_taken_up_again(bolt, new, tmp_path):
    out = tmp_path / "watched.csv"
    program = "from anomalybench.cli import main; main()"
    words = ["predict", "bolt", new, "--watch", "--out", out, "--results", bolt]

    def watch(until):
        process = subprocess.Popen([sys.executable, "-c", program, *map(str, words)], stderr=subprocess.PIPE, text=True)
        try:
            for _ in range(300):
                if out.exists() and len(predictions_file.read(out)) >= until:
                    break
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            return process.communicate(timeout=30)[1]
        finally:
            process.kill()

    assert "Stopped after 3 images" in watch(3)
    (new / "later.png").write_bytes((new / "bad.png").read_bytes())
    assert "Stopped after 1 images" in watch(4)
    assert sorted(Path(row["path"]).name for row in predictions_file.read(out)) == [
        "bad.png", "broken.png", "good.png", "later.png",
    ]  # fmt: skip


def test_the_winner_is_fitted_on_all_data_with_the_test_figures_of_its_job(ran, cli):
    (record,) = [r for r in Store(ran).records() if r.job.category == "bolt" and r.job.method.name == "pixel_knn"]
    done = cli("fit", record.id, "--as", "bolt", "--results", ran)
    assert done.exit_code == 0, done.text
    card = anomalybench.load_model(ran / "models" / "bolt" / "1").card
    assert (card.fitted_on, card.record) == ("train+test", record.id)
    assert any("those of the earlier fit" in note for note in card.notes)
    assert card.metrics["auroc"] == record.measurements[0].metrics["auroc"]
    before = Store(ran).model(record).card
    assert card.counts.train_normal == before.counts.train_normal + before.counts.test_normal
    assert card.decision.normal == before.decision.normal
    assert card.decision.rule == before.decision.rule


@pytest.mark.parametrize(
    ("words", "said"),
    [([], ["--as NAME", "--out DIR"]), (["--as", "a/b"], ["model's name"]), (["--out", "FULL"], ["not empty"])],
)
def test_where_a_refit_goes_must_be_said(ran, cli, tmp_path, words, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    record = Store(ran).records()[0]
    typed = [word.replace("FULL", str(tmp_path / "full")) for word in words]
    cli("fit", record.id, *typed, "--results", ran).assert_refused(*said)


def test_images_that_have_changed_cannot_speak_for_a_refit(ran, cli, images, tmp_path):
    Image.fromarray(np.full((8, 8, 3), 3, np.uint8)).save(images / "bolt" / "train" / "good" / "more.png")
    (record,) = [r for r in Store(ran).records() if r.job.category == "bolt" and r.job.method.name == "pixel_knn"]
    cli("fit", record.id, "--as", "bolt", "--results", ran).assert_refused("not those of the job")


@pytest.mark.parametrize("keep", ["all", "none", "best"])
def test_which_models_stay(cli, images, tmp_path, keep):
    results = tmp_path / "results"
    words = ("--dataset", "mvtec_ad", "--data", images, "--methods", "pixel_knn", *FAST)
    assert cli("run", *words, "--keep-models", keep, "--results", results).exit_code == 0
    records = Store(results).records()
    n = sum("model.json" in record.files for record in records)
    assert n == {"all": len(records), "none": 0, "best": 2}[keep]
    assert all(record.status == "ok" for record in records)
    again = cli("run", *words, "--keep-models", keep, "--results", results)
    assert "0 to fit" in again.stdout


def test_an_unknown_way_of_keeping_models_is_refused(cli, images, tmp_path):
    cli("run", "--data", images, "--keep-models", "some", "--results", tmp_path).assert_refused("all, best, none")
