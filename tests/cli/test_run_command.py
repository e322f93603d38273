"""What a user of `run` gets wrong or wants to know: named before anything runs, said once, with a way that works."""

import re
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import anomalybench
from anomalybench.bench.request import Option, Request
from anomalybench.cli import options

CRASHES = '''
"""Crashes."""
from dataclasses import dataclass
from anomalybench import Method

@dataclass
class Crashes(Method):
    learns_from = "nothing"

    def fit(self, train, context):
        1 / 0

    def predict(self, images):
        pass
'''
SMALL = ["--set", "synthetic.n_normal=12", "--set", "synthetic.n_anomalous=8"]
ON = ["--dataset", "synthetic", "--categories", "tablet", *SMALL, "--no-floors"]
QUICK = ["--methods", "brightest", *ON]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--methods", "padim", "--set", "padim.backbone=timm:resnet81"], ["resnet81", "timm"]),
        (["--methods", "padim", "--set", "padim.backbone=torchvison:resnet18"], ["torchvison", "torchvision"]),
        (["--methods", "padim", "--set", "padim.backbone=file:gone.pth@timm:resnet18"], ["gone.pth"]),
        (["--methods", "brightest", "--threshold", "fixed"], ["fixed needs t", "--set fixed.t=0.5"]),
        (["--methods", "brightest", "--threshold", "fpr", "--set", "fpr.q=2"], ["fpr.q", "less than"]),
        (["--methods", "brightest", "--threshold", "yuden"], ["Did you mean 'youden'?"]),
        (["--methods", "brightest", "--device", "gpu"], ["device 'gpu'", "there is no GPU here", "cpu"]),
        (["--methods", "brightest", "--device", "cuda:99"], ["cuda:99", "cpu"]),
        (["--methods", "brightest", "--set", "brightest.size=3"], ["greater than or equal to 4"]),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_dry_run_finds_what_a_run_would_fail_on(run, tmp_path, monkeypatch, more, words, dry):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    run(*ON, *more, *dry).assert_refused(*words)
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_data_that_are_not_there_are_found_by_a_dry_run(run, tmp_path, dry):
    for more in ([], ["--dataset", "folder"], ["--dataset", "mvtec_ad"]):
        run("--data", tmp_path / "gone", "--methods", "brightest", *more, *dry).assert_refused(
            tmp_path / "gone", "does not exist"
        )


def test_an_unknown_category_lists_those_that_there_are(run, images):
    for name in ("plum", "zzzzzz"):
        result = run("--data", images, "--methods", "brightest", "--categories", name)
        result.assert_refused(f"'{name}'", "bolt", "nut")
        assert "--categories" not in result.text.replace(f"--categories {name}", "")


def test_a_file_as_data_is_called_a_file(run, images):
    file = images / "bolt" / "train" / "good" / "00.png"
    for more in ([], ["--dataset", "folder"], ["--dataset", "mvtec_ad"]):
        result = run("--data", file, "--methods", "brightest", *more)
        result.assert_refused(file, "is a file")
        assert "does not exist" not in result.text


def test_results_that_are_nowhere_are_named(cli, tmp_path):
    for command in (
        ["compare"],
        ["leaderboard"],
        ["report"],
        ["figures"],
        ["measure"],
        ["reference", "check", "smoke"],
    ):
        result = cli(*command, "--results", tmp_path / "nowhere")
        result.assert_refused(tmp_path / "nowhere", "does not exist", "--results DIR")
    assert not (tmp_path / "nowhere").exists()


def test_a_crash_names_the_line_of_the_plugin_and_is_told_once(make_plugin, run):
    make_plugin(methods={"crashes": CRASHES})
    result = run(*ON, "--methods", "crashes", "--seeds", "0,1,2,3,4")
    assert result.exit_code == 1
    assert "Traceback" not in result.text
    line = 1 + CRASHES.splitlines().index("        1 / 0")
    reason = f"ZeroDivisionError: division by zero (crashes.py, line {line})"
    assert result.text.count(reason) == 1
    assert result.text.count("Failed:") == 1
    assert "and 2 more jobs" in result.text


def test_a_run_in_which_all_fails_shows_no_empty_table(make_plugin, run, tmp_path):
    make_plugin(methods={"crashes": CRASHES})
    result = run(*ON, "--methods", "crashes")
    assert result.exit_code == 1
    assert "ROC AUC" not in result.stdout
    assert "pooled\n" not in result.stdout
    assert "written" not in result.stdout
    assert not (tmp_path / "results" / "leaderboards").exists()


def test_python_warns_of_failures_and_returns_their_rows(make_plugin, tmp_path, capsys):
    make_plugin(methods={"crashes": CRASHES})
    on = {"dataset": "synthetic", "categories": "tablet,weave", "floors": False}
    with pytest.warns(UserWarning, match="2 of 2 jobs failed: crashes synthetic/tablet .*division by zero"):
        tables = anomalybench.run(methods="crashes", **on, results=tmp_path)
    assert list(tables.leaderboard["status"]) == ["failed"]
    assert list(tables.by_category["status"]) == ["failed", "failed"]
    assert tables.by_category["error"].str.contains("division by zero").all()


@pytest.mark.parametrize(
    ("methods", "found"),
    [("random", ["random"]), ("random,brightness", ["brightness", "random"]), (["random"], ["random"]),
     (("random", "brightness"), ["brightness", "random"])],
)  # fmt: skip
def test_python_takes_names_as_texts_and_lists(tmp_path, methods, found):
    params = {"synthetic.n_normal": 12, "synthetic.n_anomalous": 8}
    on = {"dataset": "synthetic", "categories": "tablet", "params": params, "floors": False}
    tables = anomalybench.run(methods=methods, **on, results=tmp_path)
    assert sorted(tables.leaderboard["method"]) == found


def test_python_shows_progress_where_it_is_asked_for(tmp_path, capsys):
    on = {"methods": "random", "dataset": "synthetic", "categories": "tablet", "floors": False, "results": tmp_path}
    anomalybench.run(**on, progress=True)
    assert re.search(r"^[0-9a-f]{8} random synthetic/tablet pooled seed 0: ok in .* auroc 0\.", capsys.readouterr().err)
    anomalybench.run(**on, progress=False)
    assert capsys.readouterr().err == ""


def test_python_refuses_options_that_do_not_exist_with_the_nearest(tmp_path):
    with pytest.raises(anomalybench.core.errors.UsageError, match=r"Did you mean 'methods'\?"):
        anomalybench.run(method="cam", results=tmp_path)
    with pytest.raises(anomalybench.core.errors.UsageError, match=r"workers='many': .*valid integer"):
        anomalybench.run(workers="many", results=tmp_path)


def test_help_of_the_python_function_has_every_option_of_the_command(cli):
    import inspect

    shown = inspect.signature(anomalybench.run).parameters
    for name, option in options.requests.options().items():
        assert name in shown
        assert name == "suite" or f"{name}: {option.help}" in anomalybench.run.__doc__


def test_an_option_is_one_field_of_the_request():
    """A field that is added shows in the command's help, is read, and has its default."""

    @dataclass(frozen=True)
    class More(Request):
        tiles: Annotated[int, Option("Tiles of an image.", metavar="N")] = 1
        colours: Annotated[tuple[str, ...], Option("Colours, separated by commas.")] = ()

    got = []
    app = typer.Typer()

    @app.command()
    @options.with_request()
    def command(request: More) -> None:
        got.append(request)

    for words, tiles, colours in (([], 1, ()), (["--tiles", "4", "--colours", "red, green"], 4, ("red", "green"))):
        assert CliRunner().invoke(app, words).exit_code == 0
        assert (got[-1].tiles, got[-1].colours, got[-1].results) == (tiles, colours, Request().results)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert re.search(r"--tiles\s+N\s+Tiles of an image", shown)
    assert CliRunner().invoke(app, ["--tiles", "many"]).exit_code == 2
    assert More.of({"tiles": 3}).tiles == 3


def test_the_version_is_told(cli):
    result = cli("--version")
    assert result.exit_code == 0
    assert result.stdout == f"anomalybench {anomalybench.__version__}\n"


def test_a_broken_package_of_plugins_is_named_and_the_run_goes_on(acme, on_path, run, tmp_path):
    info = tmp_path / "site" / "broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[anomalybench.methods]\nbroken = no_such_package.methods\n")
    on_path(tmp_path / "site")
    result = run(*QUICK)
    assert result.exit_code == 0, result.text
    assert result.text.count("no_such_package.methods cannot be imported") == 1
    assert "brightest" in result.stdout


def test_nothing_is_said_twice(run):
    for more in ([], ["--protocol", "standard"], ["--methods", "cam,brightest", "--protocol", "standard"]):
        result = run(*QUICK, *more)
        assert result.exit_code == 0, result.text
        said = [line for line in result.stderr.splitlines() if line]
        assert len(set(said)) == len(said)
        sentences = [line.partition(": ")[2] for line in said]
        assert all(result.text.count(sentence) == 1 for sentence in sentences if len(sentence) > 30)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_what_a_run_prints_fits_the_terminal(run, images, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    result = run("--data", images, "--methods", "brightest")
    assert result.exit_code == 0, result.text
    title, table = result.stdout.partition("mvtec_ad, pooled")[1:]
    assert title
    rows = table.partition("written:")[0].splitlines()
    assert max(map(len, rows)) <= width
    assert np.mean([bool(re.search(r"\d\.\d+\s*$|\d\.$", row)) for row in rows]) < 0.2
