"""`reference check|accept`: pinned results, and what is said when numbers move."""

import re
import shutil

import pandas as pd
import pytest

from anomalybench.core import places

SUITE = "methods: [{methods}]\ndatasets: [stripes: {{n: 8}}]\n"


@pytest.fixture
def pinned(acme, cli, tmp_path, monkeypatch):
    """The file that pins a suite which has been run and accepted; nothing is written into the repository."""
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "reference").mkdir()
    shutil.copy(places.references() / "published.csv", tmp_path / "reference")
    monkeypatch.setattr(places, "references", lambda: tmp_path / "reference")
    (tmp_path / "mine.yaml").write_text(SUITE.format(methods="brightest, random"))
    assert cli("run", tmp_path / "mine.yaml", "--no-floors", "--results", tmp_path / "results").exit_code == 0
    result = cli("reference", "accept", tmp_path / "mine.yaml", "--results", tmp_path / "results")
    assert result.exit_code == 0, result.text
    return tmp_path / "reference" / "mine.csv"


@pytest.fixture
def check(cli, tmp_path):
    return lambda *more: cli("reference", "check", tmp_path / "mine.yaml", "--results", tmp_path / "results", *more)


def change(file, edit):
    """Rewrite the rows below the provenance."""
    lines = file.read_text().splitlines(keepends=True)
    head = [line for line in lines if line.startswith("#")]
    table = pd.read_csv(file, comment="#", dtype={"fold": str}, keep_default_na=False)
    file.write_text("".join(head) + edit(table).to_csv(index=False))
    return table


def nudged(metric, share):
    """An edit that moves one metric by a share of its tolerance."""

    def edit(table):
        rows = table["metric"] == metric
        assert rows.any()
        table.loc[rows, "value"] += share * table.loc[rows, "tolerance"]
        return table

    return edit


def test_what_is_pinned_passes_and_says_where_it_comes_from(pinned, check):
    text = pinned.read_text()
    for word in ("accepted with: anomalybench run", "date: 20", "torch: ", "numpy: ", "python: ", "machine: ", "git: "):
        assert re.search(f"^#.*{word}", text, flags=re.MULTILINE), word
    table = pd.read_csv(pinned, comment="#")
    assert not table.duplicated(["method", "category", "metric"]).any()
    assert {"auroc", "balanced_accuracy", "threshold", "pixel_auroc"} <= set(table["metric"])
    assert set(table["category"]) == {"fine", "wide"}
    assert (table["tolerance"] > 0).all()
    result = check()
    assert result.exit_code == 0, result.text
    assert f"{len(table)} numbers are where they were pinned" in result.text


@pytest.mark.parametrize("metric", ["auroc", "threshold", "balanced_accuracy", "pixel_auroc"])
def test_less_than_the_tolerance_passes_and_more_does_not(pinned, check, metric):
    change(pinned, nudged(metric, 0.9))
    assert check().exit_code == 0
    change(pinned, nudged(metric, 0.2))
    result = check()
    assert result.exit_code == 1
    assert metric in result.text
    assert "moved" in result.text


def test_moved_missing_and_new_rows_are_told_apart_with_the_cure(pinned, check, cli, tmp_path):
    def edit(table):
        table.loc[0, "value"] += 0.5
        extra = table.iloc[[1]].assign(category="gone")
        return pd.concat([table.drop(index=2), extra])

    change(pinned, edit)
    result = check()
    assert result.exit_code == 1
    assert "3 of " in result.text
    for what in ("moved", "missing", "new"):
        assert re.search(rf"^\s*{what} ", result.stdout, flags=re.MULTILINE), result.stdout
    (command,) = re.findall(r"If that is meant: anomalybench (.*)", result.stdout)
    assert cli(*command.split()).exit_code == 0
    assert check().exit_code == 0


def test_the_cure_names_the_data_and_quotes_names_with_spaces(pinned, check, tmp_path):
    change(pinned, nudged("auroc", 3))
    (tmp_path / "my data").mkdir()
    result = check("--data", tmp_path / "my data")
    assert result.exit_code == 1
    assert f"--data '{tmp_path / 'my data'}'" in result.text


def test_a_number_sign_in_a_name_is_no_comment(pinned, check):
    change(pinned, lambda table: pd.concat([table, table.iloc[[0]].assign(category="part #1")]))
    result = check()
    assert result.exit_code == 1
    assert "part #1" in result.text


@pytest.mark.parametrize("text", ["", "# only words\n", "method,value\na,1\n", "<<<<<<< HEAD\na,b\n1,2,3\n"])
def test_a_broken_file_is_refused_by_name(pinned, check, text):
    pinned.write_text(text)
    check().assert_refused(pinned, "cannot be read")


def test_text_in_place_of_a_number_is_refused(pinned, check):
    change(pinned, lambda table: table.astype({"value": object}).assign(value="high"))
    check().assert_refused(pinned, "cannot be read")


def test_a_suite_that_was_never_pinned_or_run_is_refused(pinned, check, cli, tmp_path):
    pinned.unlink()
    check().assert_refused("mine", "no pinned results", "anomalybench reference accept")
    for command in ("check", "accept"):
        (tmp_path / "none").mkdir(exist_ok=True)
        other = cli("reference", command, tmp_path / "mine.yaml", "--results", tmp_path / "none")
        other.assert_refused("4 of the suite's jobs", "anomalybench run")
        cli("reference", command, "smok", "--results", tmp_path / "none").assert_refused("Did you mean 'smoke'?")
    assert not pinned.exists()


def test_failed_jobs_are_not_pinned(pinned, make_plugin, cli, tmp_path):
    source = (
        '"""Fails."""\nfrom dataclasses import dataclass\nfrom anomalybench import Method\n@dataclass\n'
        "class Broken(Method):\n    learns_from = 'nothing'\n    def fit(self, train, context): 1 / 0\n"
        "    def predict(self, images): pass\n"
    )
    make_plugin(methods={"broken": source})
    before = pinned.read_text()
    (tmp_path / "mine.yaml").write_text(SUITE.format(methods="broken"))
    assert cli("run", tmp_path / "mine.yaml", "--no-floors", "--results", tmp_path / "results").exit_code == 1
    result = cli("reference", "accept", tmp_path / "mine.yaml", "--results", tmp_path / "results")
    result.assert_refused("2 have failed")
    assert pinned.read_text() == before


def test_a_file_that_cannot_be_written_is_refused(pinned, cli, tmp_path):
    pinned.unlink()
    pinned.mkdir()
    result = cli("reference", "accept", tmp_path / "mine.yaml", "--results", tmp_path / "results")
    result.assert_refused(pinned, "cannot be written")


def test_a_suite_may_not_overwrite_the_published_results(pinned, cli, tmp_path):
    published = pinned.with_name("published.csv")
    before = published.read_text()
    (tmp_path / "mine.yaml").rename(tmp_path / "published.yaml")
    result = cli("reference", "accept", tmp_path / "published.yaml", "--results", tmp_path / "results")
    result.assert_refused("published", "another name")
    assert published.read_text() == before
