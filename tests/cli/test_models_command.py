import json
import shutil
from pathlib import Path

import made_models
import numpy as np
import pytest

from anomalybench import run
from anomalybench.bench.store import Store
from anomalybench.cli import app
from anomalybench.deploy import bundle
from anomalybench.deploy.promoted import Promoted


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small real run on `bolt`, and images that it has not seen."""
    folder = tmp_path_factory.mktemp("run")
    made_models.draw(folder / "bolt", 60, 30)
    run(data=folder / "bolt", methods=("pixel_knn", "brightness"), floors=False, results=folder / "results")
    made_models.write(folder / "new", [*made_models.normal(30, 77), *made_models.defective(4, 77)])
    made_models.write(folder / "dark", made_models.normal(30, 78, light=60))
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of its own for each test, which is the working folder."""
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture
def ids(place):
    return {record.job.method.name: record.id for record in Store(place / "results").records()}


def lines(result):
    return [line.strip() for line in result.stdout.splitlines()]


def test_promote_says_what_to_do_next(cli, place, ids):
    done = cli("models", "promote", ids["pixel_knn"][:6], "--as", "bolt")
    assert done.exit_code == 0
    assert "bolt/1 is current: pixel_knn folder/bolt, threshold " in done.text
    assert "anomalybench export bolt" in done.text
    assert "anomalybench predict bolt IMAGES" in done.text
    assert bundle.read(Path("results/models/bolt/1")).card.record == ids["pixel_knn"]


def test_the_promoted_copy_decides_as_the_job(cli, place, ids):
    cli("models", "promote", ids["pixel_knn"], "--as", "bolt")
    shutil.rmtree("results/runs")
    shutil.rmtree("results/weights")
    assert cli("predict", "bolt", "new", "--out", "new.csv").exit_code == 0
    rows = Path("new.csv").read_text().splitlines()[1:]
    assert sum(",anomalous," in row for row in rows) == 4


def test_promote_keeps_the_last_versions(cli, ids):
    for _ in range(3):
        done = cli("models", "promote", ids["brightness"], "--as", "light", "--keep", "1")
    assert "Removed, since 1 versions are kept: 1" in done.text


def test_promote_with_another_threshold_rule(cli, place, ids):
    again = cli("run", "--data", "bolt", "--methods", "pixel_knn", "--no-floors", "--threshold", "f1")
    assert again.exit_code == 0, again.text
    assert cli("models", "promote", f"{ids['pixel_knn'][:8]}@f1", "--as", "bolt").exit_code == 0
    assert cli("models", "promote", ids["pixel_knn"], "--as", "bolt").exit_code == 0
    rules = [bundle.read_card(Promoted(place / "results").folder("bolt", n)).decision.rule for n in (1, 2)]
    assert rules == ["f1", "youden"]


@pytest.mark.parametrize("name", ["../x", ".x", "a b", ""])
def test_promote_refuses_names_before_it_reads_a_model(cli, place, name):
    cli("models", "promote", "nonsense", "--as", name).assert_refused("cannot be a model's name")


def test_promote_what_is_not_there(cli, place):
    cli("models", "promote", "nonsense", "--as", "bolt").assert_refused("there is no model 'nonsense'", "best:RUN")
    assert not Path("results/models").exists()


def test_rollback(cli, ids):
    for method in ("pixel_knn", "brightness"):
        cli("models", "promote", ids[method], "--as", "bolt")
    assert cli("models", "rollback", "bolt").stdout == "bolt/1 is current.\n"
    cli("models", "rollback", "bolt").assert_refused("no version was current before 1", "--to N")
    assert cli("models", "rollback", "bolt", "--to", "2").stdout == "bolt/2 is current.\n"
    cli("models", "rollback", "bolt", "--to", "7").assert_refused("no version 7. There are 1, 2.")
    cli("models", "rollback", "nut").assert_refused("unknown promoted model 'nut'")


def test_list(cli, place, ids):
    said = "holds none. Promote one: anomalybench models promote JOB --as NAME"
    assert cli("models", "list").stdout.strip().endswith(said)
    shutil.copytree("results", "my results")
    assert f"{said} --results 'my results'" in cli("models", "list", "--results", "my results").text
    for method in ("pixel_knn", "brightness"):
        cli("models", "promote", ids[method], "--as", "bolt")
    Path("results/models/bolt/2/model.onnx").write_bytes(b"")
    shown = cli("models", "list")
    first, second = (line.split() for line in lines(shown) if line.startswith("bolt"))
    card = bundle.read_card(Path("results/models/bolt/1"))
    assert first[:4] == ["bolt", "1", "pixel_knn", "folder/bolt"]
    assert first[4] == f"{card.decision.threshold:.4g}"
    assert first[5] == f"{card.metrics['auroc']:.3f}"
    assert first[6] == "{:.3f}-{:.3f}".format(*card.intervals["auroc"])
    assert first[9] == card.environment["date"][:10]
    assert second[:4] == ["bolt", "2", "current", "brightness"]
    assert "onnx" in second


@pytest.mark.parametrize("width", [80, 100, 140])
def test_tables_fit_the_terminal(cli, place, ids, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for method in ("pixel_knn", "brightness"):
        cli("models", "promote", ids[method], "--as", f"a-name-that-is-rather-long-{method}")
    cli("predict", ids["pixel_knn"], "dark", "--out", "dark.csv")
    tables = [
        cli("models", "list"),
        cli("drift", "dark.csv", "--model", ids["pixel_knn"]),
        cli("models", "compare", ids["pixel_knn"], ids["brightness"]),
        cli("models", "compare", ids["pixel_knn"], ids["brightness"], "new"),
    ]
    for shown in tables:
        rules = [line for line in shown.stdout.splitlines() if "───" in line]
        assert rules, shown.text
        assert max(map(len, rules)) <= width


def test_list_goes_on_where_something_is_damaged(cli, place, ids):
    for name in ("bolt", "light"):
        cli("models", "promote", ids["brightness"], "--as", name)
    Path("results/models/bolt/1/model.json").write_text("{")
    Path("results/models/light/current.json").write_text("{")
    shown = cli("models", "list")
    assert shown.exit_code == 0
    assert "damaged" in shown.stdout
    assert "models rollback light --to 1" in shown.text
    assert "no card of a model" in shown.text


def test_compare_on_the_test_images_of_both_jobs(cli, place, ids):
    shown = cli("models", "compare", ids["pixel_knn"][:5], ids["brightness"][:5])
    assert shown.exit_code == 0, shown.text
    assert "On the 18 test images that both jobs share" in shown.text
    assert "- ROC AUC: " in shown.text
    assert "- balanced accuracy: " in shown.text
    assert "exact McNemar test" in shown.text
    assert "scratch/" in shown.text


def test_compare_on_labelled_images_leaves_out_what_was_trained_on(cli, place, ids):
    made_models.draw(place / "more", 30, 30, seed=60)
    shown = cli("models", "compare", ids["pixel_knn"], ids["brightness"], "more")
    assert "On 60 labelled images" in shown.text
    assert "left out" not in shown.text
    assert "is better than" in shown.text or "cannot be told apart" in shown.text
    again = cli("models", "compare", ids["pixel_knn"], ids["brightness"], "bolt")
    assert "72 of 90 images are left out" in again.text
    assert "On 18 labelled images" in again.text


def test_labelled_images_of_the_jobs_give_the_numbers_of_the_jobs(cli, place, ids):
    """The same images, once from the stored scores and once predicted anew."""
    stored, anew = (
        [line.split()[:5] for line in lines(cli("models", "compare", *ids.values(), *more)) if "ROC AUC  " in line]
        for more in ([], ["bolt"])
    )
    assert stored == anew
    assert len(stored) == 1


def test_compare_on_images_without_labels(cli, place, ids):
    made_models.write(place / "broken", [picture[:, ::-1] for picture in made_models.normal(3, 5)])
    (place / "broken" / "bad.png").write_bytes(b"no image")
    shown = cli("models", "compare", ids["pixel_knn"], ids["brightness"], "new", "broken")
    assert shown.exit_code == 0
    assert "bad.png" in shown.text
    assert "On 37 images without labels" in shown.text
    assert "decide alike on" in shown.text
    assert "Cohen's kappa" in shown.text
    assert "Without labels nothing says who is right" in shown.text
    assert "Images on which they differ" in shown.text


def test_compare_a_promoted_model_with_its_own_job(cli, place, ids):
    cli("models", "promote", ids["pixel_knn"], "--as", "bolt")
    shown = cli("models", "compare", "bolt", ids["pixel_knn"], "new")
    assert "decide alike on 34 of 34 images" in shown.text
    assert "They never differ here" in shown.text
    assert "They decide alike on every image" in cli("models", "compare", "bolt", ids["pixel_knn"]).text


def test_compare_refuses_what_says_nothing(cli, place, ids):
    other = cli("run", "--data", "bolt", "--methods", "brightness", "--no-floors", "--seeds", "1")
    assert other.exit_code == 0, other.text
    seed = next(record.id for record in Store(place / "results").records() if record.job.seed == 1)
    cli("models", "compare", seed, ids["pixel_knn"]).assert_refused("not tested on the same images", "IMAGES")
    cli("models", "compare", "bolt", "bolt").assert_refused("with what?")
    (place / "bad").mkdir()
    (place / "bad" / "bad.png").write_bytes(b"no image")
    cli("models", "compare", *ids.values(), "bad").assert_refused("no image is left to compare on")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_drift_of_what_predict_wrote(cli, place, ids, kind):
    for name in ("new", "dark"):
        cli("predict", ids["pixel_knn"], name, "--out", f"{name}.{kind}")
    same = cli("drift", f"new.{kind}", "--model", ids["pixel_knn"])
    assert same.exit_code == 0
    assert "Drift: none. 34 images, 4 of them called anomalous." in same.text
    assert "the images look like those of the calibration" in same.text
    assert "was it another model" not in same.text
    dark = cli("drift", f"dark.{kind}", "--model", ids["pixel_knn"])
    assert "Drift: strong. 30 images" in dark.text
    assert "the light has changed: the images are darker than in the calibration" in dark.text


def test_drift_as_json(cli, place, ids):
    cli("predict", ids["pixel_knn"], "dark", "--out", "dark.csv")
    found = json.loads(cli("drift", "dark.csv", "--model", ids["pixel_knn"], "--json").stdout)
    assert found["level"] == "strong"
    assert {one["name"] for one in found["quantities"]} >= {"brightness", "contrast", "sharpness", "width", "height"}
    assert np.isfinite([one["psi"] for one in found["quantities"]]).all()


def test_drift_looks_at_the_last_images(cli, place, ids):
    for order in (("dark", "new"), ("new", "dark")):
        cli("predict", ids["pixel_knn"], *order, "--out", f"{order[1]}-last.csv")
    for name, level in (("new", "none"), ("dark", "strong")):
        found = cli("drift", f"{name}-last.csv", "--model", ids["pixel_knn"], "--last", "30")
        assert f"Drift: {level}. 30 images" in found.text


def test_drift_by_another_model_is_noticed(cli, place, ids):
    cli("predict", ids["pixel_knn"], "new", "--out", "new.csv")
    assert "was it another model?" in cli("drift", "new.csv", "--model", ids["brightness"]).text


def test_images_that_could_not_be_read_play_no_part(cli, place, ids):
    (place / "new" / "bad.png").write_bytes(b"no image")
    cli("predict", ids["pixel_knn"], "new", "--out", "new.csv")
    assert "Drift: none. 34 images" in cli("drift", "new.csv", "--model", ids["pixel_knn"]).text


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", "path,score,verdict\nx,one,normal\n", "path,score,verdict,threshold\nx,nan,normal,inf\n"],
)
def test_drift_of_another_table(cli, place, ids, text):
    Path("other.csv").write_text(text)
    found = cli("drift", "other.csv", "--model", ids["pixel_knn"])
    if found.exit_code == 0:
        assert "nothing can be compared" in found.text
    else:
        found.assert_refused("other.csv")


def test_drift_of_numbers_that_are_none(cli, place, ids):
    Path("other.jsonl").write_text('{"path": "x", "score": "high", "verdict": "normal"}\n')
    cli("drift", "other.jsonl", "--model", ids["pixel_knn"]).assert_refused("'high' in column score is no number")
    cli("drift", "none.csv", "--model", ids["pixel_knn"]).assert_refused("no such file")


def test_the_commands_are_listed_in_the_help():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert "drift" in names
    assert "models" in {group.name for group in app.registered_groups}
