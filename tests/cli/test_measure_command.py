"""Measuring again: other threshold rules and `measure` need no fit."""

import shutil

import pandas as pd
import pytest

from anomalybench.bench.store import Store

SMALL = ["--set", "synthetic.n_normal=24", "--set", "synthetic.n_anomalous=12"]


@pytest.fixture
def ran(run):
    """Runs one method and the floors on one category."""
    on = ["--methods", "brightest", "--dataset", "synthetic", "--categories", "tablet", *SMALL]
    return lambda *more: run(*on, *more)


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def test_a_rule_that_is_asked_for_later_needs_no_fit(ran, results):
    assert "to measure" not in ran().text
    before = {record.id: record.environment["date"] for record in Store(results).records()}
    result = ran("--threshold", "fpr")
    assert result.exit_code == 0, result.text
    assert "0 to fit, 4 only to measure, 0 done." in result.text
    assert {record.id: record.environment["date"] for record in Store(results).records()} == before
    rules = pd.read_csv(results / "leaderboards" / "synthetic_by_category.csv")["threshold_rule"].str.partition("(")[0]
    assert (rules == "fpr").sum() == 4
    assert "0 to fit, 0 only to measure, 4 done." in ran("--threshold", "fpr", "--dry-run").text


def test_tables_keep_what_cannot_be_measured_again(ran, cli, results):
    """A failed job is a row, and a result whose images are gone stays as it was measured."""
    ran("--name", "mine")
    table = results / "leaderboards" / "mine_by_category.csv"
    before = pd.read_csv(table)["job"].tolist()
    store = Store(results)
    one = next(record for record in store.records() if record.job.method.name == "random")
    (store.folder(one.job, one.fingerprint) / "scores.parquet").write_bytes(b"x" * one.files["scores.parquet"])
    result = cli("measure", "mine", "--results", results)
    assert "stays as it was measured" in result.text
    assert pd.read_csv(table)["job"].tolist() == before


def test_measure_gives_the_same_tables_again(ran, cli, results):
    ran("--name", "mine")
    files = [results / "leaderboards" / f"mine{end}.csv" for end in ("", "_by_category")]
    before = [file.read_text() for file in files]
    for words in (["mine"], []):
        result = cli("measure", *words, "--results", results)
        assert result.exit_code == 0, result.text
        assert "measured again: 4 results, none of them fitted" in result.text
    assert [file.read_text() for file in files] == before
    cli("measure", "other", "--results", results).assert_refused("unknown suite or run 'other'", "mine")


def test_a_leaderboard_that_cannot_be_written_is_shown(run, cli, images, tmp_path):
    assert run("--methods", "brightest", "--dataset", "mvtec_ad", "--data", images, "--no-floors").exit_code == 0
    shutil.rmtree(tmp_path / "results" / "leaderboards")
    (tmp_path / "results" / "leaderboards").write_text("a file in the way")
    done = cli("leaderboard", "--results", tmp_path / "results")
    done.assert_refused("cannot be written")
    assert "brightest" in done.stdout


def test_a_name_means_the_rule_it_was_run_with(run, cli, images, tmp_path):
    """A later run with another rule adds a measurement; it is no row of the first run's tables."""
    options = ("--methods", "brightest", "--dataset", "mvtec_ad", "--data", images, "--no-floors")
    assert run(*options, "--name", "first").exit_code == 0
    table = tmp_path / "results" / "leaderboards" / "first_by_category.csv"
    before = table.read_text()
    assert run(*options, "--name", "second", "--threshold", "fpr").exit_code == 0
    assert cli("measure", "first", "--results", tmp_path / "results").exit_code == 0
    assert table.read_text() == before
