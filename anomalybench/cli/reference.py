"""Commands that compare results with pinned ones, and pin them."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, ResultsOption
from anomalybench.cli.tables import existing, stored

if TYPE_CHECKING:
    import pandas as pd

    from anomalybench.core.record import Record

app = typer.Typer(no_args_is_help=True, help="Compare a suite's results with the pinned ones, or pin them.")
SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name or YAML file.")]


@app.command()
def check(suite: SuiteName, data: DataOption = None, results: ResultsOption = RESULTS) -> None:
    """Compare a suite's results with the pinned ones. Exit code 1 if a number moved, is missing or is new."""
    from anomalybench.report import reference

    name, _, rows = _rows(suite, data, results)
    differing = reference.compare(reference.read(name), rows)
    if differing.empty:
        console.console().print(f"{len(rows)} numbers are where they were pinned.")
        return
    console.print_frame(differing, f"{len(differing)} of {len(rows)} numbers differ from the pinned ones")
    where = ["--results", str(results), *(["--data", str(data)] if data else [])]
    command = shlex.join(["anomalybench", "reference", "accept", suite, *where])
    console.console().print(f"If that is meant: {console.plain(command)}", soft_wrap=True, highlight=False)
    sys.exit(1)


@app.command()
def accept(suite: SuiteName, data: DataOption = None, results: ResultsOption = RESULTS) -> None:
    """Pin a suite's results: from now on they must not move unnoticed."""
    from anomalybench.report import reference

    name, records, rows = _rows(suite, data, results)
    command = f"anomalybench run {suite} && anomalybench reference accept {suite}"
    console.print_files([reference.write(name, rows, records, command)])


def _rows(suite: str, data: Path | None, results: Path) -> "tuple[str, list[Record], pd.DataFrame]":
    from anomalybench.core.errors import StoreError
    from anomalybench.report import leaderboard, reference

    name, found, missing = stored(existing(results), suite, data)
    failed = sum(result.record.status == "failed" for result in found)
    if missing or failed:
        raise StoreError(
            f"{results}: {missing} of the suite's jobs have not been run and {failed} have failed. "
            f"Run it first: anomalybench run {suite} --results {results}"
        )
    return name, [result.record for result in found], reference.table(leaderboard.build(found))
