"""The command that says whether a model's images are still like those of its calibration."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomalybench.cli import console, terminal
from anomalybench.cli.options import RESULTS, ResultsOption
from anomalybench.cli.terminal import Column

if TYPE_CHECKING:
    from anomalybench.deploy.drift import Drift


def drift(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A table that `predict --out` wrote.")],
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="The model that was used: as for `predict`."),
    ],
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Look at so many of the last images.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")] = False,
    results: ResultsOption = RESULTS,
) -> None:
    """Say whether a model's images are still like those of its calibration: light, focus, size and scores.

    A quantity has changed if chance does not explain it (Kolmogorov-Smirnov test, 5 % over all quantities by Holm), and
    the population stability index passes its usual limits: .1 moderate, .25 strong.
    """
    from anomalybench.bench import models
    from anomalybench.deploy import drift as measured
    from anomalybench.deploy import predictions_file
    from anomalybench.evaluate.statistics import STATISTICS

    card = models.look_up(model, results).card()
    rows = [row for row in predictions_file.read(predictions) if row.get("score") is not None][-last:]
    used = set(_column(predictions, rows, "threshold"))
    if used - {card.decision.threshold}:
        console.warn(
            f"the images were judged by the threshold {min(used - {card.decision.threshold}):.6g}, the model has "
            f"{card.decision.threshold:.6g}: was it another model?"
        )
    known = {name: _column(predictions, rows, name) for name in STATISTICS}
    found = measured.report(card, _column(predictions, rows, "score"), {name: v for name, v in known.items() if v})
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        _print(found)


def _column(file: Path, rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """The numbers of a column, where there are any."""
    from anomalybench.core.errors import DataError, printable, shortened

    cells = [row[name] for row in rows if row.get(name) is not None]
    for cell in cells:
        if isinstance(cell, bool) or not isinstance(cell, int | float):
            raise DataError(f"{printable(file)}: {shortened(cell)} in column {name} is no number.")
    return cells


def _print(found: "Drift") -> None:
    """What was compared, and what it means."""
    columns = [
        Column("quantity", least=10), Column("change", least=8), Column("images", number=True, leaves=3),
        Column("median", number=True), Column("calibration\nmedian", number=True), Column("PSI", number=True),
        Column("PSI by\nchance", number=True, leaves=1), Column("KS", number=True, leaves=2), Column("p", number=True),
    ]  # fmt: skip
    rows = [
        [one.name, one.level, str(one.images), f"{one.median:.4g}", f"{one.reference_median:.4g}", f"{one.psi:.2f}",
         f"{one.chance:.2f}", f"{one.ks:.2f}", f"{one.p:.2g}"]
        for one in found.quantities
    ]  # fmt: skip
    terminal.console().print(terminal.table(columns, rows))
    console.remark(f"Drift: {found.level}. {found.images} images, {found.anomalous} of them called anomalous.")
    for sentence in found.sentences:
        console.remark(f"- {sentence}")
