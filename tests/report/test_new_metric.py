"""A new metric is a function and a row of the catalogue: everything else finds it there."""

import made_records as made
import numpy as np
import pandas as pd
import pytest
from read_page import data_of, written

import anomalybench
from anomalybench.bench.store import Store
from anomalybench.core.record import results_of
from anomalybench.evaluate import catalogue
from anomalybench.evaluate.catalogue import Metric, Tolerance
from anomalybench.report import leaderboard, reference

NAME = "share_above"
EVERYWHERE = frozenset({"summary", "limits", "terminal", "page"})


def share_above(scores, labels, threshold):
    """Of defective images, the share above the threshold, plus a thousandth to be no other metric."""
    return float((np.asarray(scores)[np.asarray(labels) == 1] > threshold).mean()) * 0.999


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two methods run with one more metric in the catalogue, which stays there for the tests of this file."""
    row = Metric(NAME, "share above", "image", share_above, has_interval=True, tolerance=Tolerance(0.02),
                 shown=EVERYWHERE, heading="above")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.METRICS, NAME, row)
        results = tmp_path_factory.mktemp("metric")
        params = {"synthetic.n_normal": 40, "synthetic.n_anomalous": 30}
        anomalybench.run(
            methods="random,brightness", dataset="synthetic", categories="tablet", params=params, results=results,
            floors=False,
        )  # fmt: skip
        yield Store(results)


def test_it_is_in_the_record_with_its_interval_and_resamples(finished):
    for record in finished.records():
        (result,) = results_of(record)
        test = made.tested(finished.scores(record))
        expected = share_above(test["score"], test["label"], result.measurement.threshold)
        assert result.metrics[NAME] == pytest.approx(expected)
        low, high = result.measurement.intervals[NAME]
        assert low <= expected <= high
        assert finished.resample([result])(result.id, NAME).size > 100


def test_it_is_in_both_tables(finished):
    for name in ("synthetic", "synthetic_by_category"):
        table = pd.read_csv(finished.results / "leaderboards" / f"{name}.csv")
        assert table[[NAME, f"{NAME}_low", f"{NAME}_high"]].notna().all(axis=None)


def test_it_is_shown_and_compared_in_the_terminal(finished, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    shown = cli("leaderboard", "--results", finished.results)
    assert shown.exit_code == 0, shown.text
    assert "above" in shown.text.split()
    compared = cli("compare", "--metric", NAME, "--results", finished.results)
    assert compared.exit_code == 0, compared.text
    assert "random" in compared.text
    assert NAME in compared.text or "share above" in compared.text


def test_it_is_pinned(finished):
    rows = reference.table(leaderboard.build(made.results(finished)))
    pinned = rows[rows["metric"] == NAME]
    assert len(pinned) == 2
    assert set(pinned["tolerance"]) == {0.02}


def test_it_is_on_the_page(finished):
    data = data_of(written(finished.records(), finished))
    assert {"name": NAME, "label": "share above", "main": True} in data["metrics"]
    for row in data["rows"]:
        assert row["values"][NAME] is not None
        assert len(row["intervals"][NAME]) == 2
    for job in data["jobs"]:
        assert any(NAME in [name for name, *_ in values] for _, values in job["card"])
