"""The command `serve`: what is wrong is said before anything listens."""

import socket
import sys

import pytest
from made_served import promote

from anomalybench.bench import proof
from anomalybench.deploy.promoted import Promoted

pytest.importorskip("fastapi", reason="needs the extra serve")


@pytest.fixture
def results(tmp_path):
    promote(tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def serve(cli, results):
    return lambda *arguments: cli("serve", "--results", results, "--port", 0, *arguments)


def test_without_the_extra_it_says_what_to_install(serve, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("anomalybench.service")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    serve().assert_refused("pip install 'anomalybench-vision[serve]'")


def test_without_a_promoted_model_it_says_how_to_promote_one(cli, tmp_path):
    for folder in ("none", "results"):
        (tmp_path / "results" / "models" / "empty").mkdir(parents=True, exist_ok=True)
        refused = cli("serve", "--results", tmp_path / folder, "--port", 0)
        where = f"--results {tmp_path / folder}"
        refused.assert_refused(
            "no model is promoted", f"anomalybench models promote JOB --as NAME {where}",
            f"anomalybench export NAME {where}",
        )  # fmt: skip
    assert not (tmp_path / "none").exists()


def test_a_model_that_is_not_exported_is_named(cli, tmp_path):
    results = tmp_path / "other"
    for _ in range(2):
        promote(results, "nut", exported=False)
    Promoted(results).rollback("nut")
    refused = cli("serve", "--results", results, "--port", 0)
    refused.assert_refused(
        "no model can be served", f"version 1 is not exported: anomalybench export nut/1 --results {results}"
    )
    assert proof.place("nut/1", results).exports == results / "models" / "nut" / "1"  # where serve looks


def test_a_port_in_use_is_named(cli, results):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cli("serve", "--results", results, "--port", port).assert_refused(f"port {port} is in use", "--port")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("bolt=current:100", "no promoted model 'bolt'"),
        ("pill=1:50,7:50", "there is no version 7"),
        ("pill=current:50,previous:50", "no version was current before"),
        ("pill=current:50", "add up to 50"),
        ("pill:current", "NAME=VERSION:PERCENT"),
    ],
)
def test_a_split_that_cannot_be_is_refused(serve, split, words):
    serve("--split", split).assert_refused(words)


def test_a_split_with_a_version_that_is_not_exported_is_refused(serve, results):
    promote(results, exported=False)
    serve("--split", "pill=1:50,2:50").assert_refused("version 2 is not exported")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workers", 0], "--workers 0: at least 1"),
        (["--queue", -1], "--queue -1"),
        (["--max-images", 0], "--max-images"),
        (["--max-megapixels", "nan"], "--max-megapixels"),
        (["--max-body-mb", 0], "--max-body-mb"),
        (["--timeout", "inf"], "--timeout"),
        (["--host", "no.such.host.invalid"], "--host"),
        (["--host", "192.0.2.1"], "cannot listen there"),
    ],
)
def test_other_settings_are_refused(serve, arguments, words):
    serve(*arguments).assert_refused(words)


@pytest.mark.parametrize("contents", [b"", b"short", b"\xff" * 20, "schlüssel-schlüssel".encode(), None])
def test_a_key_that_is_none_is_refused(serve, tmp_path, contents):
    file = tmp_path / "key"
    if contents is not None:
        file.write_bytes(contents)
    serve("--api-key-file", file).assert_refused(f"--api-key-file {file}")


def test_an_empty_variable_is_no_key(serve, monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_API_KEY", "")
    serve().assert_refused("ANOMALYBENCH_API_KEY")


def test_help_names_every_option(cli):
    text = cli("serve", "--help").text
    for option in ("--split", "--workers", "--queue", "--max-megapixels", "--max-body-mb", "--max-images", "--timeout",
                   "--api-key-file", "--log", "--host", "--port"):  # fmt: skip
        assert option in text
