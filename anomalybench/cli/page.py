"""The report page: what `report` writes."""

from pathlib import Path
from typing import Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, OpenOption, ResultsOption, WantedArgument
from anomalybench.cli.tables import chosen, existing


def report(
    wanted: WantedArgument = None,
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

    The page holds everything and needs no network. It is made from records; nothing is run. Images come only from
    below --data, or without it from the data folders of runs of this machine.
    """
    from anomalybench.core import places
    from anomalybench.report import page, remarks

    store = existing(results)
    found = chosen(store, wanted or [], places.data(data), finished=False)
    names = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in wanted or []]
    file = out or page.place(store, "_".join(names or ["all"]))
    title = ", ".join(names or ["All results"])
    page.write(title, found, store, file, max_images, [] if wanted else remarks.left_out(store), data)
    console.show_page(file, open_=open_)
