"""The result card of a job, and what a record knows of where its numbers come from."""

import json
import re
from datetime import datetime

import pytest

from anomalybench.bench.store import Store

NAMES = ["[red]x[/red]", "<script>", ":smile:", "[/]"]
BROKEN = '''
"""Fails."""
from dataclasses import dataclass
from anomalybench import Method

@dataclass
class Broken(Method):
    learns_from = "nothing"

    def fit(self, train, context):
        raise RuntimeError("no [bold]luck[/bold] [/]")

    def predict(self, images):
        pass
'''


@pytest.fixture
def ran(run, images, tmp_path):
    """Runs `brightest` on two categories; returns the store."""

    def call(*options, code=0):
        on = [
            "--dataset",
            "mvtec_ad",
            "--methods",
            "brightest",
            "--data",
            images,
            "--categories",
            "bolt",
            "--no-floors",
        ]
        result = run(*on, *options)
        assert result.exit_code == code, result.text
        return Store(tmp_path / "results")

    return call


@pytest.fixture
def card(cli, tmp_path):
    return lambda name: cli("show", name, "--results", tmp_path / "results")


def test_the_card_has_every_number_and_where_it_comes_from(ran, card):
    (record,) = ran().records()
    for name in (record.job.id, record.job.id[:6]):
        result = card(name)
        assert result.exit_code == 0
        lines = {line.split()[0]: line for line in result.stdout.splitlines() if len(line.split()) in (1, 2, 5)}
        for metric, value in record.measurements[0].metrics.items():
            assert lines[metric].split()[1:2] == (["-"] if value is None else [f"{value:.5g}"])
        for metric, (low, high) in record.measurements[0].intervals.items():
            assert f"{low:.3f} to {high:.3f}" in lines[metric]
        for words in (record.fingerprint, record.environment["git"], record.environment["torch"], record.root):
            assert words in result.text
        assert record.job.id in result.text


def test_a_record_says_where_its_numbers_come_from(ran):
    (record,) = ran().records()
    found = record.environment
    assert re.fullmatch(r"[0-9a-f]{40}\+?", found["git"])
    assert {"numpy", "torch", "torchvision", "timm", "python", "platform", "machine"} <= found.keys()
    assert found["device"] in ("cpu", "cuda:0", "cuda")
    assert found["command"].startswith("anomalybench run --dataset mvtec_ad --methods brightest")
    assert datetime.fromisoformat(found["date"]).tzinfo is not None
    assert re.fullmatch("[0-9a-f]{16}", record.fingerprint)


def test_another_picture_gives_another_fingerprint(ran, images):
    (before,) = ran().records()
    (images / "bolt/test/scratch/00.png").write_bytes((images / "bolt/test/scratch/03.png").read_bytes())
    after = ran().records()
    assert len({record.fingerprint for record in after}) == 2
    assert before in after


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_and_never_markup(ran, card, images, name):
    (images / "bolt/test/scratch").rename(images / "bolt/test" / name.replace("/", "_"))
    store = ran()
    (record,) = store.records()
    file = store.folder(record.job, record.fingerprint) / "record.json"
    content = json.loads(file.read_text())
    content["notes"] = [f"note {name}"]
    content["measurements"][0]["accuracy_by_defect"] = {name: 0.25}
    file.write_text(json.dumps(content))
    result = card(record.job.id)
    assert result.exit_code == 0
    assert f"note {name}" in result.stderr
    assert re.search(rf"^{re.escape(name)} +0.25", result.stdout, flags=re.MULTILINE), result.stdout


def test_failed_and_skipped_jobs_have_a_card_with_the_reason(make_plugin, ran, run, card, images, tmp_path):
    make_plugin(methods={"broken": BROKEN})
    ran("--methods", "broken", code=1)
    ran("--methods", "cam", "--protocol", "standard")
    records = {record.status: record for record in Store(tmp_path / "results").records()}
    failed, skipped = card(records["failed"].job.id), card(records["skipped"].job.id)
    assert failed.exit_code == skipped.exit_code == 0
    assert "RuntimeError: no [bold]luck[/bold] [/]" in failed.text
    assert "cam learns from labels, but the train part has no anomalous images" in skipped.text


def test_several_matches_are_all_shown_and_none_is_an_error(ran, card, tmp_path):
    store = ran("--seeds", ",".join(map(str, range(17))))
    ids = [record.job.id for record in store.records()]
    first = next(letter for letter in "0123456789abcdef" if sum(i.startswith(letter) for i in ids) > 1)
    result = card(first)
    assert all((i in result.text) == i.startswith(first) for i in ids)
    card("zzz").assert_refused("'zzz'", tmp_path / "results", "no such job")
    card("brightes").assert_refused("Did you mean 'brightest'?")


def test_an_empty_name_is_not_every_job(ran, card):
    ran()
    card("").assert_refused("''")
