"""`compare`: differences, what may be said of them, and the diagram; slips."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from anomalybench.bench.store import Store
from anomalybench.report import verdicts

SUITE = "methods: [{methods}]\ndatasets: [stripes: {{n: 30}}]\nseeds: [{seeds}]\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def ran(acme, cli, tmp_path):
    """Runs methods on the dataset `stripes`, which has two categories; returns the results folder."""

    def call(methods, seeds="0"):
        (tmp_path / "mine.yaml").write_text(SUITE.format(methods=methods, seeds=seeds))
        result = cli("run", tmp_path / "mine.yaml", "--no-floors", "--results", tmp_path / "results")
        assert result.exit_code == 0, result.text
        return tmp_path / "results"

    return call


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of results that are made once for several tests."""
    return tmp_path_factory.mktemp("compare") / "results"


@pytest.fixture
def pair(ran, kept, tmp_path):
    """Results of `brightest` and `random`, the test's own."""
    if not kept.exists():
        shutil.copytree(ran("brightest, random"), kept)
    return shutil.copytree(kept, tmp_path / "results", dirs_exist_ok=True)


def test_a_clear_difference_is_called_one_and_its_limits_are_said(cli, pair):
    result = cli("compare", "random", "brightest", "--results", pair)
    assert result.exit_code == 0
    said = re.search(
        r"- brightest is better than random on images like these "
        r"\(([+-][\d.]+), 95 % interval ([+-][\d.]+) to ([+-][\d.]+), p = ([\d.e-]+)\)",
        result.text,
    )
    value, low, high, p = map(float, said.groups())
    assert low < value < high
    assert low > 0
    assert p < 0.05
    assert all(category in result.text for category in ("fine", "wide"))
    assert "2 categories: the signed-rank test over categories cannot fall below p = 0.5" in result.text
    assert "One seed" in result.text


def test_no_difference_is_not_called_equality(cli, ran):
    results = ran("brightest, brightest: {size: 8}", "0, 1")
    result = cli("compare", "brightest(size=8)", "brightest(size=16)", "--results", results)
    assert result.exit_code == 0
    assert "cannot be told apart" in result.text
    assert "does not show that they are equally good" in result.text
    assert " is better than brightest" not in result.text
    assert "One seed" not in result.text


def test_three_methods_get_mean_ranks_and_a_diagram(cli, ran):
    results = ran("brightest, random, brightness")
    result = cli("compare", "--results", results)
    assert "Mean ranks over 2 categories: " in result.text
    (file,) = (results / "figures").glob("*.png")
    assert str(file) in result.text
    assert np.asarray(Image.open(file).convert("L")).std() > 5
    two = cli("compare", "brightest", "random", "--results", results)
    assert "Mean ranks" not in two.text
    assert "brightness" not in two.text


def test_pixel_metrics_are_compared_where_both_have_maps(cli, ran):
    results = ran("brightest, brightest: {size: 8}, random")
    result = cli("compare", "--metric", "pixel_auroc", "--results", results)
    assert "pixel_auroc on stripes, pooled" in result.text
    assert "random" not in result.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["brightest"], ["with what?", "random"]),
        (["brightest", "brightest"], ["with what?"]),
        (["brightest", "randon"], ["'randon'", "Did you mean 'random'?"]),
        (["brightest", "random", "--metric", "aurok"], ["metric 'aurok'", "Did you mean 'auroc'?"]),
        (["brightest", "random", "--metric", "aupro_30"], ["holds no aupro_30 of two methods"]),
        (["--dataset", "stripe"], ["'stripe'", "Did you mean 'stripes'?"]),
        (["--protocol", "kfold"], ["'kfold'", "Did you mean 'pooled'?"]),
    ],
)
def test_slips_are_refused(cli, pair, arguments, words):
    cli("compare", *arguments, "--results", pair).assert_refused(*words)


def test_nothing_to_compare_is_said(cli, ran, tmp_path):
    cli("compare", "--results", tmp_path / "gone").assert_refused(tmp_path / "gone", "does not exist", "--results DIR")
    (tmp_path / "empty").mkdir()
    cli("compare", "a", "b", "--results", tmp_path / "empty").assert_refused("'a'", "Known: none.")
    cli("compare", "--results", ran("random")).assert_refused("two methods on the same images")


def test_methods_without_a_common_category_are_not_compared(acme, cli, tmp_path):
    for method, category in (("brightest", "fine"), ("random", "wide")):
        on = ["--methods", method, "--dataset", "stripes", "--categories", category, "--no-floors"]
        assert cli("run", *on, "--results", tmp_path).exit_code == 0
    cli("compare", "--results", tmp_path).assert_refused("two methods on the same images")
    on = ["--methods", "brightness", "--dataset", "stripes", "--no-floors", "--results", tmp_path]
    assert cli("run", *on).exit_code == 0
    result = cli("compare", "--results", tmp_path)
    assert result.exit_code == 0, result.text
    assert "Some methods lack categories" in result.text


def test_results_that_cannot_be_written_are_refused(cli, ran):
    results = ran("brightest, random, brightness")
    (results / "figures").write_text("in the way")
    cli("compare", "--results", results).assert_refused("figures", "--results DIR")


def test_a_single_category_is_said_in_plain_words(acme, cli, tmp_path):
    on = ["--dataset", "stripes", "--categories", "fine", "--no-floors", "--results", tmp_path]
    for method in ("brightest", "random"):
        assert cli("run", "--methods", method, *on).exit_code == 0
    text = cli("compare", "--results", tmp_path).text
    assert "1 categories" not in text
    assert "One category: this holds for images like these" in text


def test_results_on_other_images_of_the_same_name_are_kept_apart(cli, pair):
    def other_images(folder):
        file = folder / "record.json"
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"fingerprint": "0" * 16}))

    folders = [file.parent for file in pair.rglob("record.json") if "/random/" in str(file)]
    other_images(folders[0])
    result = cli("compare", "--results", pair)
    assert result.exit_code == 0, result.text
    assert "results on 1 other set of images of the same name are rows of their own" in result.text
    (compared,) = verdicts.comparisons(Store(pair), None, None, [], "auroc")
    assert [one.whole.n_categories for one in compared.pairs] == [1]
    for folder in folders[1:]:
        other_images(folder)
    cli("compare", "--results", pair).assert_refused("two methods on the same images")


def test_records_without_resamples_are_shown_and_nothing_is_concluded(cli, pair):
    for file in pair.rglob("record.json"):
        (file.parent / "resamples.npz").unlink()
        record = json.loads(file.read_text())
        for name in ("intervals", "sanity", "notes"):
            del record["measurements"][0][name]
        del record["files"]["resamples.npz"]
        file.write_text(json.dumps(record))
    result = cli("compare", "--results", pair)
    assert result.exit_code == 0
    assert "brightest and random: nothing can be concluded; their records hold no resamples" in result.text
    assert "nan" not in result.text
    assert "-1.000" not in result.text
    (compared,) = verdicts.comparisons(Store(pair), None, None, [], "auroc")
    assert np.isnan(compared.pairs[0].whole.interval).all()
    board = cli("leaderboard", "--results", pair)
    assert board.exit_code == 0
    assert "nan" not in board.text
    card = cli("show", json.loads(file.read_text())["job"]["method"]["name"], "--results", pair)
    assert card.exit_code == 0
    assert cli("show", file.parent.name[:7], "--results", pair).exit_code == 0
