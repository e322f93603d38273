import json
import shutil

import exportable
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import anomalybench
from anomalybench.core.files import ASIDE
from anomalybench.deploy import bundle
from anomalybench.deploy.loading import load_model
from anomalybench.deploy.promoted import Promoted
from anomalybench.vision.images import read_rgb


@pytest.fixture
def results(make_plugin, images, tmp_path):
    """Results of the method `distance` on two categories, and a function that gives the folder of a job."""
    make_plugin(methods={"distance": exportable.SOURCE})
    return tmp_path / "results"


@pytest.fixture
def job(results, images):
    """Runs the method with these parameters; gives the job's folder."""

    def fitted(**params):
        params = {f"distance.{name}": value for name, value in params.items()}
        anomalybench.run(
            methods="distance", data=str(images), categories="bolt", results=str(results), floors=False, params=params,
            progress=False, name="toy",
        )  # fmt: skip
        return max(results.glob("runs/*/bolt/distance/*/model.json"), key=lambda file: file.stat().st_mtime).parent

    return fitted


def export(cli, folder, *options):
    return cli("export", folder, *options)


def test_a_job_is_exported_and_decides_as_its_record_says(cli, job, results, images):
    folder = job()
    done = export(cli, folder)
    assert done.exit_code == 0, done.text
    target = results / "exports" / folder.name
    assert {file.name for file in target.iterdir()} == {"model.onnx", "model.json", "parity.json"}
    parity = json.loads((target / "parity.json").read_text())
    assert parity["compared_with"] == "record"
    assert parity["job"]["decisions"] == 0
    counts = json.loads((folder / "record.json").read_text())["counts"]
    assert parity["job"]["images"] == counts["calibration"] + counts["test"]
    assert parity["job"]["scores"] < 1e-5
    assert set(parity["derived"]) == {"as they are", "resized", "grey", "near-black"}
    assert all(one["scores"] < 1e-5 and one["maps"] < 1e-5 for one in parity["derived"].values())
    assert parity["versions"].keys() >= {"onnxruntime", "torch", "pillow"}
    assert f"All {counts['calibration'] + counts['test']} decisions are those of the record" in done.text


def test_the_file_gives_what_the_fitted_method_gives(cli, job, results, images):
    folder = job()
    export(cli, folder)
    image = next(images.glob("bolt/test/scratch/*.png"))
    by_torch, by_onnx = load_model(folder, "torch")(image), load_model(results / "exports" / folder.name, "onnx")(image)
    assert by_onnx.score == pytest.approx(by_torch.score, rel=1e-5)
    assert by_onnx.verdict == by_torch.verdict == "anomalous"
    np.testing.assert_allclose(by_onnx.map, by_torch.map, rtol=1e-4)


def test_openvino_from_the_same_graph(cli, job, results):
    pytest.importorskip("openvino")
    folder = job()
    done = export(cli, folder, "--format", "openvino")
    assert done.exit_code == 0, done.text
    target = results / "exports" / folder.name
    assert {file.name for file in target.iterdir()} == {"model.xml", "model.bin", "model.json", "parity-openvino.json"}
    parity = json.loads((target / "parity-openvino.json").read_text())
    assert parity["engine"] == "openvino"
    assert parity["job"]["decisions"] == 0
    assert parity["files"].keys() == {"model.xml", "model.bin"}
    assert all(one["scores"] < 1e-5 for one in parity["derived"].values())


def test_a_file_that_decides_otherwise_is_not_kept(cli, job, results):
    folder = job(shift=1e6)  # its graph is not what it computes
    target = results / "exports" / folder.name
    export(cli, folder).assert_refused("decides otherwise", "--allow-different")
    assert list(target.iterdir()) == []


def test_an_earlier_export_stays_where_a_later_one_is_refused(cli, job, results):
    folder = job()
    export(cli, folder)
    before = (results / "exports" / folder.name / "model.onnx").read_bytes()
    _turn_scores(folder)
    export(cli, folder).assert_refused("decides otherwise")
    assert (results / "exports" / folder.name / "model.onnx").read_bytes() == before
    assert not list(results.glob(f"exports/*/{ASIDE}*"))


def test_a_different_file_is_kept_where_that_is_asked_for(cli, job, results):
    folder = job(shift=1e6)
    done = export(cli, folder, "--allow-different")
    assert done.exit_code == 0, done.text
    parity = json.loads((results / "exports" / folder.name / "parity.json").read_text())
    assert parity["job"]["decisions"] > 0
    assert "judged otherwise" in done.text


def test_methods_without_maps(cli, job, results, images):
    folder = job(maps=False)
    assert export(cli, folder).exit_code == 0
    model = load_model(results / "exports" / folder.name, "onnx")
    assert model(next(images.glob("bolt/test/good/*.png"))).map is None
    parity = json.loads((results / "exports" / folder.name / "parity.json").read_text())
    assert parity["job"]["maps"] is None


def test_another_folder_is_a_model_by_itself(cli, job, tmp_path, images):
    folder = job()
    assert export(cli, folder, "--out", tmp_path / "put to work").exit_code == 0
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "put to work", moved)
    image = next(images.glob("bolt/test/scratch/*.png"))
    assert load_model(moved)(image).anomalous
    (moved / "model.json").unlink()
    assert load_model(moved / "model.onnx")(image).anomalous


def test_a_promoted_model_is_exported_into_its_own_folder(cli, job, results):
    promoted = Promoted(results).promote(bundle.read(job()), "pill")
    assert export(cli, "pill", "--results", results).exit_code == 0
    parity = json.loads((promoted.folder / "parity.json").read_text())
    assert parity["compared_with"] == "record"


def test_a_model_whose_record_is_not_at_hand(cli, job, tmp_path):
    bundle.write(tmp_path, bundle.read(job()))
    options = ("--results", tmp_path / "nothing")
    export(cli, tmp_path, *options).assert_refused("record", "--results DIR", "--no-proof")
    assert not (tmp_path / "model.onnx").exists()
    done = export(cli, tmp_path, *options, "--no-proof")
    assert done.exit_code == 0, done.text
    assert "was not shown" in done.text
    assert (tmp_path / "model.onnx").exists()
    assert not (tmp_path / "parity.json").exists()


def test_a_refit_is_compared_with_itself(cli, job, tmp_path, results):
    card, state = bundle.read(job())
    refit = bundle.Bundle(
        card.model_copy(update={"fitted_on": "train+test"}), {"mean_": np.asarray(state["mean_"] + np.float32(3))}
    )
    bundle.write(tmp_path, refit)
    done = export(cli, tmp_path, "--results", results)
    assert done.exit_code == 0, done.text
    assert json.loads((tmp_path / "parity.json").read_text())["compared_with"] == "method"


def test_changed_images(cli, job, images):
    folder = job()
    file = next(images.glob("bolt/test/good/*.png"))
    Image.fromarray(255 - read_rgb(file)).save(file)
    export(cli, folder).assert_refused("have changed", "--data DIR")


def again(folder):
    """The model of a job as another fit has left it."""
    card, state = bundle.read(folder)
    return bundle.Bundle(card, {"mean_": np.asarray(state["mean_"] + np.float32(1e-3))})


def test_what_was_exported_of_an_earlier_fit_goes(cli, job, results):
    pytest.importorskip("openvino")
    folder = job()
    target = results / "exports" / folder.name
    export(cli, folder)
    assert cli("latency", folder, "--images", 1, "--threads", 1).exit_code == 0
    bundle.write(folder, again(folder))
    assert export(cli, folder, "--format", "openvino").exit_code == 0
    assert {file.name for file in target.iterdir()} == {"model.xml", "model.bin", "model.json", "parity-openvino.json"}
    assert bundle.read_card(target).arrays == bundle.read_card(folder).arrays


def test_both_formats_of_one_fit_lie_side_by_side(cli, job, results):
    pytest.importorskip("openvino")
    folder = job()
    export(cli, folder)
    export(cli, folder, "--format", "openvino")
    target = results / "exports" / folder.name
    assert {file.name for file in target.iterdir()} == {
        "model.onnx", "parity.json", "model.xml", "model.bin", "model.json", "parity-openvino.json",
    }  # fmt: skip


def test_a_folder_with_another_fit_of_the_same_job(cli, job, tmp_path):
    folder = job()
    bundle.write(tmp_path, again(folder))
    export(cli, folder, "--out", tmp_path).assert_refused("another model", "--out DIR")
    assert bundle.read(tmp_path).card.arrays == bundle.read_card(tmp_path).arrays


def test_exported_cards_tell_neither_machine_nor_command(cli, job, results):
    pytest.importorskip("openvino")
    folder = job()
    assert {"host", "command"} <= bundle.read_card(folder).environment.keys()
    for target in ("onnx", "openvino"):
        export(cli, folder, "--format", target)
    place = results / "exports" / folder.name
    for card in (bundle.read_card(place), load_model(place, "onnx").card, load_model(place, "openvino").card):
        assert not {"host", "command"} & card.environment.keys()
        assert card.environment["date"]


def test_a_promoted_model_keeps_its_card(cli, job, results):
    promoted = Promoted(results).promote(bundle.read(job()), "pill")
    before = bundle.read_card(promoted.folder)
    export(cli, "pill", "--results", results)
    assert bundle.read_card(promoted.folder) == before


def test_a_folder_of_another_model(cli, job, tmp_path):
    first, second = job(), job(size=8)
    assert export(cli, first, "--out", tmp_path / "out").exit_code == 0
    export(cli, second, "--out", tmp_path / "out").assert_refused("another model", "--out DIR")


def test_a_folder_that_cannot_be_written(cli, job, tmp_path):
    (tmp_path / "file").write_text("")
    export(cli, job(), "--out", tmp_path / "file" / "folder").assert_refused("cannot be written", "--out DIR")


def test_a_method_without_a_graph(cli, images, tmp_path):
    results = tmp_path / "results"
    anomalybench.run(
        methods="random", data=str(images), categories="bolt", results=str(results), progress=False, name="toy",
        floors=False,
    )  # fmt: skip
    folder = next(results.glob("runs/*/bolt/random/*/model.json")).parent
    export(cli, folder).assert_refused("has no graph")


@pytest.mark.parametrize(("package", "extra", "options"), [
    ("onnx", "export", ()), ("openvino", "openvino", ("--format", "openvino")),
])  # fmt: skip
def test_a_missing_package_is_named_with_its_extra(cli, job, monkeypatch, package, extra, options):
    folder = job()
    there = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == package else there(name, *a))
    export(cli, folder, *options).assert_refused(f"anomalybench-vision[{extra}]")


def test_latency_of_every_engine_that_is_there(cli, job, results, monkeypatch):
    monkeypatch.setattr("anomalybench.deploy.latency._BATCH_S", 0.01)
    folder = job()
    export(cli, folder)
    done = cli("latency", folder, "--threads", 1, "--images", 20)
    assert done.exit_code == 0, done.text
    found = json.loads((results / "exports" / folder.name / "latency.json").read_text())
    assert [one["engine"] for one in found["engines"]] == ["torch", "onnx"]
    assert found["threads"] == 1
    assert (found["height"], found["width"]) == (8, 8)
    assert all(0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] for one in found["engines"])
    assert all(set(one["batches"]) == {"1", "2", "4", "8", "16", "32"} for one in found["engines"])


def test_latency_without_the_images_of_the_job(cli, job, results, images, monkeypatch):
    monkeypatch.setattr("anomalybench.deploy.latency._BATCH_S", 0.01)
    folder = job()
    shutil.rmtree(images)
    done = cli("latency", folder, "--images", 5)
    assert done.exit_code == 0, done.text
    assert "noise" in done.text
    assert json.loads((results / "exports" / folder.name / "latency.json").read_text())["height"] == 12


def _turn_scores(folder):
    """A record whose scores are turned around, as if it had judged otherwise."""
    file, record = folder / "scores.parquet", folder / "record.json"
    table = pd.read_parquet(file)
    table["score"] = table["score"].max() + table["score"].min() - table["score"]
    table.to_parquet(file, index=False)
    content = json.loads(record.read_text())
    content["files"][file.name] = file.stat().st_size
    record.write_text(json.dumps(content))
