"""From request to results: what is fitted, what is only measured, and what is kept."""

import numpy as np
import pytest
from drawn import draw

from anomalybench.bench.request import Request
from anomalybench.bench.session import Session
from anomalybench.core.record import MEASURE_VERSION, results_of

METHOD = '''
"""Distance from the mean normal brightness; writes a line for every fit."""
import os
from dataclasses import dataclass
import numpy as np
from anomalybench import Method, Prediction

@dataclass
class Counted(Method):
    learns_from = "normals"

    def fit(self, train, context):
        with open(os.environ["FITS"], "a") as file:
            file.write("fit\\n")
        if "BROKEN" in os.environ:
            raise RuntimeError("no luck")
        self.mean_ = np.array([np.mean([image.mean() for image in train.images])])

    def predict(self, images):
        maps = np.stack([np.abs(image.mean(axis=2) - self.mean_)[::4, ::4] for image in images])
        return Prediction(maps.mean(axis=(1, 2)), maps)
'''
DRAWN = {
    "methods": ("counted",), "dataset": "synthetic", "categories": ("disc",), "floors": False,
    "params": {"synthetic.n_normal": 30, "synthetic.n_anomalous": 20},
}  # fmt: skip


@pytest.fixture
def fits(make_plugin, tmp_path, monkeypatch):
    """How often the method `counted` was fitted so far."""
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FITS", str(tmp_path / "fits"))
    make_plugin(methods={"counted": METHOD})
    (tmp_path / "fits").touch()
    return lambda: len((tmp_path / "fits").read_text().split())


@pytest.fixture
def run(fits, tmp_path):
    """Runs a request; returns the session and what was finished."""

    def call(results="results", **changes):
        session = Session(Request(**{**DRAWN, "results": tmp_path / results, **changes}))
        return session, list(session.run(session.plan()))

    return call


@pytest.fixture
def bolts(run, images):
    """Runs the method on the images of the user's own."""
    own = {"dataset": "mvtec_ad", "categories": ("bolt",), "data": images, "params": {}}
    return lambda **changes: run(**{**own, **changes})


def scores(session, item):
    return session.store.scores(item.record)


def measurements(record):
    return {one.name: one for one in record.measurements}


FPR = {"threshold": "fpr", "params": {**DRAWN["params"], "fpr.q": 0.1}}


def test_another_threshold_and_explanations_fit_nothing_and_give_the_same_digits(run, fits):
    run()
    _, (ruled,) = run(**FPR)
    session, (explained,) = run(explain=2)
    assert fits() == 1
    assert ruled.reused
    assert explained.reused
    (_, (at_once,)), (_, (both,)) = run("other", explain=2), run("other", **FPR)
    assert fits() == 2
    assert set(measurements(explained.record)) == {"default", "fpr(q=0.1)"}
    assert measurements(explained.record) == measurements(both.record)
    assert explained.record.explanation == at_once.record.explanation
    assert explained.record.explanation.metrics["replacement_lowers"] is not None
    assert session.store.records() == [explained.record]


def test_resamples_are_those_of_a_run_that_did_it_at_once(run):
    run()
    (late, (one,)), (early, (other,)) = run(**FPR), run("other", **FPR)
    name = "fpr(q=0.1)"
    for metric in ("auroc", "balanced_accuracy", "pixel_auroc"):
        drawn = [
            session.store.resample(results_of(item.record))(f"{item.record.id}@{name}", metric)
            for session, item in ((late, one), (early, other))
        ]
        assert np.array_equal(*drawn, equal_nan=True), metric


def test_a_second_run_does_nothing_and_results_are_those_asked_for(run, fits):
    run()
    run(**FPR)
    session, (again,) = run()
    assert (fits(), again.reused, session.plan().tasks) == (1, True, [])
    assert [result.measurement.name for result in session.results([again])] == ["default"]
    assert [result.measurement.name for session in [run(**FPR)[0]] for result in session.asked(session.stored())] == [
        "fpr(q=0.1)"
    ]


def older(session, record, *names):
    """Put back the record as older formulas would have left it: with another number."""
    stale = {"version": MEASURE_VERSION - 1, "metrics": {"auroc": 0.123}}
    changed = tuple(one.model_copy(update=stale if one.name in names else {}) for one in record.measurements)
    drawn = session.store.resamples(record)
    return session.store.measured(record.model_copy(update={"measurements": changed}), drawn)


@pytest.mark.parametrize("names", [("default",), ("fpr(q=0.1)",), ("default", "fpr(q=0.1)")])
def test_what_older_formulas_have_measured_is_measured_again_and_nothing_is_fitted(run, fits, names):
    run()
    session, (item,) = run(**FPR)
    drawn = session.store.resamples(item.record)
    older(session, item.record, *names)
    run()
    _, (again,) = run(**FPR)
    assert fits() == 1
    assert measurements(again.record) == measurements(item.record)
    assert {one.version for one in again.record.measurements} == {MEASURE_VERSION}
    assert session.store.resamples(again.record).keys() == drawn.keys()


def test_the_command_measure_gives_the_same_tables(run, fits, cli, tmp_path):
    session, (item,) = run()
    older(session, item.record, "default")
    results = tmp_path / "results"
    assert cli("measure", "--results", results).exit_code == 0
    assert fits() == 1
    (record,) = session.store.records()
    assert record.measurements == item.record.measurements
    table = (results / "leaderboards" / "all_by_category.csv").read_text()
    assert "0.123" not in table
    assert cli("measure", "--results", results).exit_code == 0
    assert (results / "leaderboards" / "all_by_category.csv").read_text() == table


def test_a_result_on_earlier_images_is_kept_when_images_are_added(bolts, images, fits):
    session, (before,) = bolts()
    kept = scores(session, before)
    draw(images / "bolt" / "train" / "good" / "new.png", 99)
    session, (after,) = bolts()
    assert fits() == 2
    assert before.job.id == after.job.id
    assert {record.id for record in session.store.records()} == {before.record.id, after.record.id}
    assert scores(session, before).equals(kept)
    assert [result.record for result in session.results([after])] == [after.record]
    (images / "bolt" / "train" / "good" / "new.png").unlink()
    assert bolts()[1][0].record == before.record
    assert fits() == 2


def test_a_job_that_fails_under_force_leaves_the_earlier_result(bolts, monkeypatch):
    session, (before,) = bolts()
    monkeypatch.setenv("BROKEN", "1")
    session, (failed,) = bolts(force=True)
    assert (failed.record.status, session.store.records()) == ("failed", [before.record])


def test_a_symlinked_job_folder_under_force_is_said_and_left_alone(bolts, tmp_path, cli, images):
    session, (before,) = bolts()
    folder = session.store.folder(before.job, before.record.fingerprint)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    options = ["--methods", "counted", "--dataset", "mvtec_ad", "--categories", "bolt", "--no-floors", "--force"]
    said = cli("run", *options, "--data", images, "--results", tmp_path / "results")
    said.assert_refused("symbolic link", folder.name)
    assert session.store.get(before.job, before.record.fingerprint) == before.record


def test_images_replaced_after_the_plan_are_refused_and_poison_no_stored_features(images, tmp_path):
    """What is kept of frozen layers is named after the contents that the plan saw."""

    def session(results, **changes):
        values = {
            "methods": ("deep_knn",), "dataset": "mvtec_ad", "categories": ("bolt",), "data": images, "floors": False,
            "params": {"deep_knn.size": 32, "deep_knn.backbone": "random@timm:resnet18"},
        }  # fmt: skip
        return Session(Request(**values, results=tmp_path / results, **changes))

    def run(one):
        (item,) = one.run(one.plan())
        return item.record

    honest = run(session("honest")).measurements
    swapped = session("results")
    plan = swapped.plan()
    originals = {file: file.read_bytes() for file in images.glob("bolt/*/*/*.png")}
    for i, file in enumerate(originals):
        draw(file, 250 if "scratch" in str(file) else i % 20)
    (failed,) = (item.record for item in swapped.run(plan))
    assert failed.status == "failed"
    assert "changed" in failed.error
    for file, contents in originals.items():
        file.write_bytes(contents)
    assert run(session("results", force=True)).measurements == honest
