"""Tables in the terminal: as wide as it is, numbers whole, texts harmless."""

import re
from types import SimpleNamespace as Any

import numpy as np
import pandas as pd
import pytest

from anomalybench.cli import console, terminal
from anomalybench.inspection.findings import Finding
from anomalybench.report import leaderboard

NUMBER = re.compile(r"(?<![\w.])[+-]?\d+\.\d+(?:e-\d+)?")
COLOUR = "\x1b[31mred\u202e"


@pytest.fixture
def at(monkeypatch, capsys):
    """What is printed where the terminal is that wide."""

    def call(width, show, *arguments):
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        show(*arguments)
        return capsys.readouterr().out

    return call


def board(n=5, **columns):
    """A leaderboard of one ground with distinct numbers in every cell; pixel metrics, intervals and marks included."""
    table = pd.DataFrame(index=range(n), columns=leaderboard.summary_columns())
    for place, name in enumerate(leaderboard.summary_columns()):
        table[name] = [0.5 + place / 200 + row / 7000 for row in range(n)]
    table["method"] = [f"method_{'x' * 5 * row}" for row in range(n)]
    fixed = {"supervision": "normals", "dataset": "toy", "protocol": "pooled", "status": "ok", "n_categories": 3}
    return table.assign(**fixed | {"tied_with_best": True, "above_floors": False, "not_ranked": None} | columns)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_of_the_leaderboard_is_too_wide_and_no_number_is_broken(at, width):
    table = board()
    text = at(width, console.print_leaderboard, table)
    assert max(map(len, text.splitlines())) <= width
    for row in table.to_dict("records"):
        for name in ("auroc", "auroc_low", "auroc_high", "balanced_accuracy", "balanced_accuracy_low"):
            assert f"{row[name]:.3f}" in NUMBER.findall(text.replace("-", " ")), name
    assert "tied with the best" in text
    assert "not above a floor" in text
    assert "below floor" not in text


def test_the_columns_that_matter_least_leave_first_and_are_named(at):
    def headings(width):
        text = at(width, console.print_leaderboard, board())
        return text.partition("──")[0], text.partition("No room for: ")[2]

    shown, left = headings(80)
    assert "ROC AUC" in shown
    assert "oracle" not in shown
    assert "oracle" in left
    for width in (100, 140, 200):
        assert len(headings(width)[1]) < len(left)
    shown, left = headings(250)
    assert left == ""
    assert {"oracle", "AU-PRO", "AP", "F1"} <= set(shown.split())


def test_pixel_metrics_are_shown_where_there_are_any(at):
    assert "AU-PRO" in at(200, console.print_leaderboard, board())
    assert "AU-PRO" not in at(200, console.print_leaderboard, board(pixel_auroc=np.nan, aupro_30=np.nan))


def test_only_what_is_known_not_to_be_above_a_floor_is_said_to_be(at):
    said = "not above a floor"
    assert said in at(200, console.print_leaderboard, board(above_floors=False))
    assert said not in at(200, console.print_leaderboard, board(above_floors=True))
    assert said not in at(200, console.print_leaderboard, board(above_floors=None))


def test_a_row_that_says_nothing_comes_last_and_says_why(at):
    reason = "only 1 defective test image: says nothing"
    table = board(3, not_ranked=[reason, None, None], method=["lucky", "second", "third"])
    text = at(200, console.print_leaderboard, table)
    places = [text.index(name) for name in ("second", "third", "lucky", reason)]
    assert places == sorted(places)
    assert text.count("tied with the best") == 2


def test_failed_and_partial_rows_say_so(at):
    table = board(3, status=["ok", "partial", "failed"], n_categories=[3, 2, 0], tied_with_best=[True, False, None])
    text = at(200, console.print_leaderboard, table)
    for words in ("only 2 of 3 categories", "failed", "best"):
        assert words in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_defect_types_by_methods(at, width):
    table = board(2, method=["a", "b"])
    judged = [{"crack": 0.25, "stain": 0.75, "good": 0.5}, {"crack": 0.75, "stain": 0.875, "good": 1.0}]
    jobs = pd.DataFrame(
        [
            {"dataset": "toy", "protocol": "unseen", "category": "bolt", "method": m, "accuracy_by_defect": j}
            for m, j in zip("aab", [judged[0], judged[1], judged[1]], strict=True)
        ]
    )
    text = at(width, console.print_leaderboard, table, jobs)
    row = next(line for line in text.splitlines() if line.split()[:1] == ["crack"])
    assert row.split() == ["crack", "0.750", "0.500"], "b is better and comes first; a is a mean of two jobs"
    assert max(map(len, text.splitlines())) <= width
    many = pd.concat([jobs.assign(method=f"method_{i}") for i in range(20)])
    assert "see the page" in at(width, console.print_leaderboard, table, many)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_other_tables_are_no_wider_and_show_no_control_characters(at, width):
    paths = (f"{COLOUR}/{'long' * 30}.png",)
    report = Any(
        dataset="toy", category=COLOUR, n_images=1234, sizes={"48x40": 1234}, modes={"RGB": 1},
        balance=[Any(split=None, label=0, defect=COLOUR, images=1234, masks=0)],
        findings=[Finding("unreadable", "error", COLOUR, paths, f"{COLOUR} 0.123456 of it; look at it", "look at it")],
    )  # fmt: skip
    for show, arguments in (
        (console.print_data_report, [report]),
        (console.print_listing, [{COLOUR: "what it is " * 20}]),
        (console.print_frame, [pd.DataFrame({"name": [COLOUR * 9], "pinned": [0.123456], "found": [1e-7]}), COLOUR]),
    ):
        text = at(width, show, *arguments)
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "x1b" in text


def test_errors_and_remarks_show_no_control_characters(cli, tmp_path):
    result = cli("show", COLOUR, "--results", tmp_path)
    result.assert_refused("\\x1b[31mred\\u202e")
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("n", [1, 3])
def test_a_comparison_names_both_methods_once_and_breaks_no_number(at, width, n):
    one = Any(a=0.912345, b=0.912345, value=0.0, interval=Any(low=-0.0123, high=0.0123), p=1.3e-12)
    pairs = [
        Any(a=f"method_a_{i}", b=f"method_b_{i}", whole=one, by_category={"bolt": one}, wilcoxon=0.5, sentence=str)
        for i in range(n)
    ]
    ranking = Any(n_categories=2, methods=["method_a_0", "method_b_0"], ranks=[1.0, 2.0])
    text = at(width, console.print_comparison, Any(dataset="toy", protocol="pooled", metric="auroc", pairs=pairs,
                                               ranking=ranking, remarks=[]))  # fmt: skip
    assert max(map(len, text.splitlines())) <= width
    assert text.count("0.912") == 2 * text.count("-0.012 to +0.012") == 2 * (2 if n == 1 else n)
    assert text.count("1.3e-12") == (2 if n == 1 else n)
    assert "better" not in text
    assert text.count("method_a_0") == 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("defect_unmasked", ["defect_", "unmasked"]),
        ("a/good/001.png, b", ["a/good/", "001.png, b"]),
        ("abcdefghijklmnopq", ["abcdefghijkl", "mnopq"]),
        ("short words stay as they are", ["short words stay as they are"]),
    ],
)
def test_long_words_are_broken_where_a_reader_would(text, lines):
    assert terminal.folded(text, 12).split("\n") == lines
