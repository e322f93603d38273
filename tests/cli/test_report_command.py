"""The commands that write the page."""

import re
import webbrowser

import pytest

from anomalybench.report import page


@pytest.fixture
def ran(run, images):
    return lambda *more: run("--dataset", "mvtec_ad", "--data", images, "--methods", "brightest", "--no-floors", *more)


@pytest.fixture
def report(cli, tmp_path):
    return lambda *arguments: cli("report", *arguments, "--results", tmp_path / "results")


@pytest.fixture
def opened(monkeypatch):
    """Addresses that a browser was asked to open."""
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda address: asked.append(address) or True)
    return asked


def test_a_run_writes_its_page_and_names_it(ran, report, tmp_path, opened):
    result = ran("--open")
    file = tmp_path / "results" / "reports" / f"{tmp_path.name}-images.html"
    assert result.exit_code == 0
    assert f"written: {file}" in result.text
    assert opened == [file.as_uri()]
    first = file.read_text()
    assert ran().exit_code == 0
    assert len(opened) == 1
    assert file.read_text() == first


def test_the_ids_that_a_run_prints_can_be_asked_for(ran, cli, report, tmp_path):
    ids = re.findall(r"^([0-9a-f]{8}) brightest ", ran().stdout, flags=re.MULTILINE)
    assert len(ids) == 2
    for job in ids:
        assert f" {job}" in cli("show", job, "--results", tmp_path / "results").text
        assert report(job).exit_code == 0
    assert re.findall(r"^([0-9a-f]{8}) .*done before", ran().stdout, flags=re.MULTILINE) == ids


def test_images_of_the_reader_come_only_from_the_folder_that_is_named(ran, report, images, tmp_path):
    ran()
    file = tmp_path / "results" / "reports" / "all.html"
    for record in tmp_path.glob("results/runs/*/*/*/*/record.json"):
        record.write_text(re.sub(r'("host": ?")', r"\1other", record.read_text()))
    report()
    assert '"thumb"' not in file.read_text()
    report("--data", images)
    assert '"thumb"' in file.read_text()


def test_report_takes_jobs_suites_and_a_file(ran, report, tmp_path, opened):
    ran()
    results = tmp_path / "results"
    (record, _) = sorted(results.glob("runs/*/*/*/*/record.json"))
    job = record.parent.name
    for words, file in (([], "all"), ([job[:8]], job[:8])):
        result = report(*words)
        assert result.exit_code == 0, result.text
        assert (results / "reports" / f"{file}.html").stat().st_size > 20_000
    assert job in (results / "reports" / f"{job[:8]}.html").read_text()
    assert report("--out", tmp_path / "mine.html", "--max-images", "0", "--open").exit_code == 0
    assert opened == [(tmp_path / "mine.html").as_uri()]
    assert "large" not in (tmp_path / "mine.html").read_text().partition('id="data">')[2].partition("</script>")[0]


def test_what_cannot_be_reported_is_said(ran, report, tmp_path):
    report().assert_refused(tmp_path / "results", "does not exist")
    (tmp_path / "results").mkdir()
    report().assert_refused("holds no job", "Run some first")
    ran()
    report("nothing-like-it").assert_refused("nothing-like-it")
    report("").assert_refused("unknown suite or run")
    report("smoke").assert_refused("holds no job of these")
    (tmp_path / "file").write_text("")
    report("--out", tmp_path / "file" / "x.html").assert_refused("--out FILE")


def test_a_failed_job_is_on_the_page(run, images, make_plugin, tmp_path):
    make_plugin(methods={"broken": BROKEN})
    assert run("--dataset", "mvtec_ad", "--data", images, "--methods", "broken,brightest").exit_code == 1
    text = (tmp_path / "results" / "reports" / f"{tmp_path.name}-images.html").read_text()
    assert "no \\u003cb\\u003eluck" in text


def test_a_page_that_fails_spoils_no_run(ran, monkeypatch):
    def fail(*arguments, **options):
        raise ValueError("no paper")

    monkeypatch.setattr(page, "write", fail)
    result = ran()
    assert result.exit_code == 0
    assert "the report page was not written: no paper" in result.text


BROKEN = '''
"""Fails."""
from dataclasses import dataclass
from anomalybench import Method

@dataclass
class Broken(Method):
    learns_from = "nothing"

    def fit(self, train, context):
        raise RuntimeError("no <b>luck")

    def predict(self, images):
        pass
'''
