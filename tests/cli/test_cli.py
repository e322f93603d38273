"""The command line and its twin in Python: help, lists, dry runs, runs, leaderboards."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

import anomalybench
from anomalybench.core import parameters, registry
from anomalybench.core.errors import UsageError

SMALL = ["--categories", "tablet,weave", "--set", "synthetic.n_normal=12", "--set", "synthetic.n_anomalous=8"]
RUN = ["run", "--methods", "brightest", "--dataset", "synthetic", "--no-floors", *SMALL]
SUITE = """
methods: [brightest, brightest: {size: 8}]
datasets: [stripes: {n: 6}]
seeds: [0, 1]
"""


@pytest.mark.parametrize(
    "command", [[], ["run"], ["list"], ["show"], ["leaderboard"], ["score"], ["compare"], ["data", "split"]]
)
def test_help(cli, command):
    result = cli(*command, "--help")
    assert result.exit_code == 0
    assert re.match(" ".join([r"Usage: .*\banomalybench", *command, r"\[OPTIONS\]"]), result.text)


def test_help_names_every_command_and_run_help_every_option(cli):
    assert {"run", "list", "show", "leaderboard"} <= set(re.findall(r"\w+", cli("--help").text))
    shown = cli("run", "--help").text
    for option in ("methods", "dataset", "categories", "protocol", "seeds", "threshold", "set", "data", "results",
                   "device", "force", "dry-run"):  # fmt: skip
        assert f"--{option} " in shown


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["list", "methods"], ["list", "suites"], ["score", "--help"], ["compare", "--help"],
     ["data", "split", "--help"], ["reference", "check", "--help"], ["show", "--help"]],
)  # fmt: skip
def test_help_and_lists_are_quick_because_they_load_no_torch(arguments):
    code = (
        "import sys\nfrom anomalybench.cli import main\nsys.argv[0] = 'anomalybench'\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'matplotlib'} | ({'pandas'} if '--help' in sys.argv else set())\n"
        "heavy |= {'pydantic'} if sys.argv[1] == '--help' else set()  # typer itself needs it for options\n"
        "print('heavy:', *(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert len(done.stdout) > 200
    assert done.stdout.endswith("heavy:\n")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", {"cam", "fcdd"}),
        ("datasets", {"elpv", "folder", "mvtec_ad", "synthetic"}),
        ("suites", {"chernytska", "mathworks_pill", "mvtec_ad", "quickstart", "smoke"}),
        ("protocols", {"few", "kfold", "pooled", "standard", "unseen_defect"}),
    ],
)
def test_list_names_everything_with_a_summary(cli, what, names):
    result = cli("list", what)
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line[:2].strip()}
    assert result.exit_code == 0
    assert names <= set(rows)
    assert all(len(rows[name]) >= 3 for name in names)


def test_show_has_every_parameter_with_its_default(cli):
    result = cli("show", "cam")
    assert result.exit_code == 0
    rows = parameters.table(registry.method("cam"))
    assert len(rows) >= 10
    for row in rows:
        (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith(f"cam.{row.name} ")]
        assert str(row.default) in line
    assert "Zhou et al. 2016" in result.text


@pytest.mark.parametrize(
    ("name", "shown"), [("kfold", "kfold.k"), ("fpr", "fpr.q"), ("folder", "folder.normal"), ("youden", "Youden 1950")]
)
def test_show_knows_datasets_protocols_and_rules(cli, name, shown):
    result = cli("show", name)
    assert result.exit_code == 0
    assert shown in result.text


@pytest.mark.parametrize("options", [["smoke"], ["smoke", "--seeds", "0,1"], RUN[1:]])
def test_a_dry_run_prints_the_jobs_and_writes_nothing(acme, cli, tmp_path, options):
    result = cli("run", *options, "--dry-run", "--results", tmp_path / "results")
    assert result.exit_code == 0
    ids = re.findall(r"^\s*([0-9a-f]{8}) ", result.stdout, flags=re.MULTILINE)
    assert len(set(ids)) == len(ids) >= 2
    assert f"{len(ids)} jobs" in result.text
    assert f"{len(ids)} to fit, 0 only to measure, 0 done." in result.text
    assert not (tmp_path / "results").exists()


def test_without_a_suite_the_quickstart_runs(cli):
    assert cli("run", "--dry-run").stdout == cli("run", "quickstart", "--dry-run").stdout


def test_a_suite_without_its_data_says_where_to_get_them_and_under_which_licence(cli, tmp_path):
    result = cli("run", "mvtec_ad", "--results", tmp_path)
    assert result.exit_code == 2
    for words in ("--data DIR", "ANOMALYBENCH_DATA", "https://www.mvtec.com", "CC BY-NC-SA 4.0"):
        assert words in result.text
    assert "Traceback" not in result.text


def test_a_run_writes_two_tables_and_names_them(acme, cli, tmp_path):
    result = cli(*RUN, "--results", tmp_path)
    assert result.exit_code == 0, result.text
    files = [tmp_path / "leaderboards" / name for name in ("synthetic.csv", "synthetic_by_category.csv")]
    summary, jobs = map(pd.read_csv, files)
    assert all(f"written: {file}\n" in result.stdout for file in files)
    assert len(summary) == 1
    assert list(jobs["category"]) == ["tablet", "weave"]
    assert summary["auroc"][0] == pytest.approx(jobs["auroc"].mean())
    counted = jobs[["n_train_normal", "n_train_anomalous", "n_calibration", "n_test"]].sum(axis=1)
    assert (jobs["n_train_anomalous"] == 0).all()
    assert (counted < 20).all()
    assert (jobs["tp"] + jobs["fp"] + jobs["tn"] + jobs["fn"] == jobs["n_test"]).all()


def test_the_second_run_finds_everything_done(acme, cli, tmp_path):
    first = cli(*RUN, "--results", tmp_path)
    tables = {file: file.read_bytes() for file in (tmp_path / "leaderboards").iterdir()}
    second = cli(*RUN, "--results", tmp_path)
    assert "done before" not in first.text
    assert second.exit_code == 0
    assert second.text.count("done before") == 2
    assert {file: file.read_bytes() for file in (tmp_path / "leaderboards").iterdir()} == tables


def test_leaderboard_makes_a_suite_s_tables_again(acme, cli, tmp_path):
    suite = tmp_path / "mine.yaml"
    suite.write_text(SUITE)
    assert cli("run", suite, "--no-floors", "--results", tmp_path).exit_code == 0
    tables = {file: file.read_bytes() for file in (tmp_path / "leaderboards").iterdir()}
    assert {file.name for file in tables} >= {"mine.csv", "mine_by_category.csv"}
    for file in tables:
        file.unlink()
    result = cli("leaderboard", suite, "--results", tmp_path)
    assert result.exit_code == 0
    assert {file: file.read_bytes() for file in (tmp_path / "leaderboards").iterdir()} == tables
    summary = pd.read_csv(tmp_path / "leaderboards" / "mine.csv")
    assert set(summary["method"]) == {"brightest(size=16)", "brightest(size=8)"}


def test_leaderboard_of_everything_and_of_an_unfinished_suite(acme, cli, tmp_path):
    suite = tmp_path / "mine.yaml"
    suite.write_text(SUITE)
    cli("run", suite, "--seeds", "1", "--no-floors", "--results", tmp_path)
    cli(*RUN, "--results", tmp_path)
    everything = cli("leaderboard", "--results", tmp_path)
    assert everything.exit_code == 0
    assert len(pd.read_csv(tmp_path / "leaderboards" / "all_by_category.csv")) == 4 + 2
    assert "4 of the suite's jobs have not been run" in cli("leaderboard", suite, "--results", tmp_path).text


def test_leaderboard_of_nothing_is_an_error(cli, tmp_path):
    result = cli("leaderboard", "--results", tmp_path / "gone")
    result.assert_refused(tmp_path / "gone", "does not exist", "--results DIR")
    (tmp_path / "empty").mkdir()
    cli("leaderboard", "--results", tmp_path / "empty").assert_refused("holds no results")


def test_the_package_is_imported_in_no_time():
    code = "import sys, anomalybench; print(*({'torch', 'pandas', 'pydantic', 'numpy', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_a_run_says_at_once_in_a_terminal_what_it_is_doing(tmp_path):
    import pty

    code = "import sys; from anomalybench.cli import main; main()"
    command = [sys.executable, "-c", code, *RUN, "--dry-run", "--results", str(tmp_path)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as process:
        first = os.read(ours, 4096) + os.read(ours, 4096)
        running = process.poll() is None
        process.kill()
    assert b"reading options" in first
    assert running


def test_options_narrow_a_suite_down(cli):
    result = cli(
        "run", "smoke", "--methods", "fcdd", "--categories", "disc", "--seeds", "0,1,2", "--no-floors", "--dry-run"
    )
    assert "3 jobs" in result.text
    assert "weave" not in result.text
    assert not re.search(r"\bcam\b", result.text)


def test_python_returns_what_the_command_writes(acme, cli, tmp_path):
    params = {"synthetic.n_normal": 12, "synthetic.n_anomalous": 8}
    on = {"dataset": "synthetic", "categories": ["tablet", "weave"], "params": params, "floors": False}
    tables = anomalybench.run(methods=["brightest"], **on, results=tmp_path)
    again = cli(*RUN, "--results", tmp_path)
    assert again.text.count("done before") == 2
    for table, name in zip(tables, ("synthetic", "synthetic_by_category"), strict=True):
        written = pd.read_csv(tmp_path / "leaderboards" / f"{name}.csv")
        assert list(written.columns) == list(table.columns)
        assert table["auroc"].to_list() == pytest.approx(written["auroc"].to_list())
    assert len(tables.leaderboard) == 1
    assert list(tables.by_category["category"]) == ["tablet", "weave"]


def test_python_raises_what_the_command_prints(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'synthetic'"):
        anomalybench.run(dataset="synthetik", methods=["cam"], results=tmp_path)


def test_every_public_name_can_be_imported():
    for name in anomalybench.__all__:
        assert getattr(anomalybench, name).__name__ == name or name == "Images"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = anomalybench.no_such_name
