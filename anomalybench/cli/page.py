"""The report page: what `report` writes, and `run` at its end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, OpenOption, ResultsOption
from anomalybench.cli.tables import chosen

if TYPE_CHECKING:
    from anomalybench.bench.store import Store
    from anomalybench.core.job import Record


def report(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE or RUN]...", help="Suites, or jobs by the beginning of their id; default: all."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; by default reports/NAME.html in the results.")] = None,
    max_images: Annotated[
        int | None,
        typer.Option(min=0, help="Images per category that can be opened large; by default an even share of 80."),
    ] = None,
    open_: OpenOption = False,
    data: DataOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Write one HTML page, to look at and to send on: leaderboard, costs, every mistake with its heat map.

    The page holds everything and needs no network. It is made from records; nothing is run.
    """
    from anomalybench.bench.store import Store
    from anomalybench.core import places
    from anomalybench.report import page

    store = Store(results)
    records = chosen(store, wanted or [], places.data(data), finished=False)
    names = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in wanted or []]
    file = out or page.place(store, "_".join(names or ["all"]))
    title = ", ".join(names or ["All results"])
    page.write(title, records, store, file, max_images, [] if wanted else page.left_out(store), data)
    _show(file, open_=open_)


def write_after_run(name: str, records: "list[Record]", store: "Store", *, open_: bool) -> None:
    """The page of a run that has just ended; a page that cannot be written is a warning, the results are there."""
    from anomalybench.report import page

    file = page.place(store, name)
    try:
        page.write(name, records, store, file)
    except Exception as error:  # whatever a page may stumble over, the run went well and its results are stored
        console.warn(f"the report page was not written: {error}")
    else:
        _show(file, open_=open_)


def _show(file: Path, *, open_: bool) -> None:
    import webbrowser

    console.print_files([file])
    if open_ and not webbrowser.open(file.resolve().as_uri()):
        console.warn(f"no browser found to open {file}")
