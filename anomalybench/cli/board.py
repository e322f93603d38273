"""The leaderboard in the terminal: one table for each dataset and protocol, then defect types by methods."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anomalybench.cli.terminal import Column, console, fitting, folded, least_width, plain, table

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text


_COSTS = {
    "fit_s": ("fit s", 5), "predict_ms_per_image": ("ms/\nimage", 2), "latency_p50_ms": ("p50\nms", 10),
    "latency_p95_ms": ("p95\nms", 11), "params_m": ("M\nparams", 9),
}  # fmt: skip
"""Heading, and when it leaves where the terminal is narrow: the highest number first."""
_GROUND = ["dataset", "protocol"]
_HEADING = 11
"""How wide a method's name is above a column of numbers."""


def _numbers() -> list[str]:
    """Columns of the leaderboard that are shown."""
    from anomalybench.evaluate import catalogue

    return [*catalogue.names(shown_in="terminal"), *_COSTS]


def _columns() -> list[Column]:
    from anomalybench.evaluate import catalogue

    metrics = [catalogue.METRICS[name] for name in catalogue.names(shown_in="terminal")]
    listed = [((metric.heading or metric.label).replace(" ROC", "\nROC"), metric.leaves) for metric in metrics]
    return [
        Column("method", least=14), Column("learns from", leaves=1, least=7),
        *(Column(title, number=True, leaves=leaves) for title, leaves in [*listed, *_COSTS.values()]),
        Column("remarks", least=18),
    ]  # fmt: skip


def print_leaderboard(leaderboard: "pd.DataFrame", jobs: "pd.DataFrame | None" = None) -> None:
    """The leaderboard's main columns, with what is to be said of each row.

    Args:
        leaderboard: One row per method and dataset.
        jobs: One row per job; if given, a table of defect types by methods follows where there are several types.
    """
    out, left = console(), set()
    for (dataset, protocol), ground in leaderboard.groupby(_GROUND, sort=False):
        rows = ground.to_dict("records")
        left |= _print_ground(f"{dataset}, {protocol}", rows)
    for line in _caption(leaderboard, left):
        out.print(line, style="dim", highlight=False)
    if jobs is not None:
        _print_defects(jobs)


def _print_ground(name: str, rows: Sequence[Mapping[Any, Any]]) -> set[str]:
    """Print one ground; returns the headings that the width leaves no room for."""
    from anomalybench.report import marks

    rows = sorted(rows, key=lambda row: marks.not_ranked(row) is not None)
    most = max(row["n_categories"] for row in rows)
    tied = sum(row.get("tied_with_best") is True for row in rows)
    made = {beside: [_cells(row, marks.of(row, most, tied), beside=beside) for row in rows] for beside in (True, False)}
    columns, width = _columns(), console().width
    everything = fitting(columns, made[True], 10**6)
    cells = made[fitting(columns, made[True], width) == everything]
    shown = fitting(columns, cells, width)
    some = f", {most} categories" if most > 1 else ""
    console().print(table(columns, cells, title=plain(f"{name}{some}")))
    return {" ".join(columns[i].title.split()).replace("/ ", "/") for i in everything if i not in shown}


def _cells(row: Mapping[Any, Any], said: Sequence[str], *, beside: bool) -> "list[str | Text]":
    numbers = [_measured(row, name, " " if beside else "\n") for name in _numbers()]
    return [row["method"], number(row.get("supervision")), *numbers, _remarks(said)]


def _measured(row: Mapping[Any, Any], name: str, gap: str) -> "Text":
    """A number, with its interval beside or under it."""
    from rich.text import Text

    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    text = Text(_cost(value) if name in _COSTS else number(value))
    if number(low):
        text.append(f"{gap}{number(low)}-{number(high)}", "dim")
    return text


def _remarks(said: Sequence[str]) -> "Text":
    from rich.text import Text

    from anomalybench.core.errors import printable
    from anomalybench.report import marks

    styles = {marks.NOT_ABOVE: "red", marks.TIED: "green", "best": "green"}
    return Text("\n").join([Text(printable(text), styles.get(text, "")) for text in said])


def number(value: object, digits: int = 3) -> str:
    """A cell of a table: nothing where it is unknown."""
    from anomalybench.report import marks

    if not marks.has_value(value):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _cost(value: object) -> str:
    """Three digits that count: 0.012, 1.23, 12.3, 1230."""
    size = value if isinstance(value, float) else 0.0
    return number(value, 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3)


def _caption(leaderboard: "pd.DataFrame", left: set[str]) -> list[str]:
    from anomalybench.evaluate import catalogue

    said = ["Positive = anomalous. Ranges: 95 % interval over test images."]
    oracles = [m for m in catalogue.METRICS.values() if m.oracle and "terminal" in m.shown and m.heading not in left]
    if any(leaderboard[metric.name].notna().any() for metric in oracles):
        said.append("Oracle: best threshold picked on the test images; a bound, not a result.")
    if left:
        said.append(f"No room for: {', '.join(sorted(left))}; see the CSV file or a wider terminal.")
    return [*said, "What the words mean: anomalybench list glossary"]


def _print_defects(jobs: "pd.DataFrame") -> None:
    """Share judged right by defect type and method, where it fits the width."""
    from anomalybench.report import defects

    out, wide = console(), []
    for found in defects.tables(jobs):
        columns = [Column("defect type"), *(Column(folded(name, _HEADING), number=True) for name in found.methods)]
        rows = [[defect, *map(number, shares)] for defect, shares in found.shares.items()]
        category = "" if found.category == found.dataset else f"/{found.category}"
        where = f"{found.dataset}{category}, {found.protocol}"
        if least_width(columns, rows) > out.width:
            wide.append(where)
        else:
            out.print(f"Judged right by defect type: {plain(where)}", soft_wrap=True, highlight=False)
            out.print(table(columns, rows))
    if wide:
        out.print(f"Judged right by defect type, too wide for here: see the page ({plain('; '.join(wide))}).")
