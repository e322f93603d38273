import shutil

import exportable
import numpy as np
import pytest

import anomalybench
from anomalybench.bench import models
from anomalybench.core.errors import StoreError, UsageError
from anomalybench.deploy import bundle, exporting
from anomalybench.deploy.fitted import fitted
from anomalybench.deploy.loading import load_model


@pytest.fixture
def job(make_plugin, images, tmp_path):
    """A job's folder."""
    make_plugin(methods={"distance": exportable.SOURCE})
    anomalybench.run(
        methods="distance", data=str(images), categories="bolt", results=str(tmp_path / "results"), floors=False,
        progress=False, name="toy",
    )  # fmt: skip
    return next((tmp_path / "results").glob("runs/*/bolt/distance/*/model.json")).parent


def without(monkeypatch, package):
    there = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == package else there(name, *a))


def test_an_exported_file_is_the_default_whatever_its_format(job, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    exporting.export(fitted(job), tmp_path / "out", "openvino")
    assert load_model(tmp_path / "out").engine == "openvino"
    both = shutil.copytree(job, tmp_path / "both")
    exporting.export(fitted(both), both, "openvino")
    assert load_model(both).engine == "openvino"
    without(monkeypatch, "openvino")
    assert load_model(both).engine == "torch"
    with pytest.raises(UsageError, match=r"anomalybench-vision\[openvino\]"):
        load_model(tmp_path / "out")
    exporting.export(fitted(job), tmp_path / "out")
    assert load_model(tmp_path / "out").engine == "onnx"


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_file_by_itself_is_run_by_no_other_engine(job, tmp_path, engine):
    exporting.export(fitted(job), tmp_path / "out")
    file = tmp_path / "out" / "model.onnx"
    assert load_model(file).engine == load_model(file, "onnx").engine == "onnx"
    with pytest.raises(UsageError, match=f"For {engine}, name the folder of the model"):
        load_model(file, engine)


def test_exported_files_of_a_job_are_found_and_must_be_of_its_fit(job, tmp_path):
    results = tmp_path / "results"
    found = models.look_up("best:toy", results)
    folder = models.exported_folder(found)
    assert folder == results / "exports" / job.name
    exporting.export(fitted(job), folder)
    assert load_model(models.exported_folder(found), "onnx").card.record == found.card().record
    card, state = bundle.read(job)
    bundle.write(job, bundle.Bundle(card, {"mean_": np.asarray(state["mean_"] + np.float32(1))}))
    with pytest.raises(StoreError, match="earlier fit of this job"):
        models.exported_folder(found)


def test_exported_files_of_another_model_lie_in_its_folder(job, tmp_path):
    bundle.write(tmp_path, bundle.read(job))
    assert models.exported_folder(models.look_up(str(tmp_path), tmp_path / "results")) == tmp_path
