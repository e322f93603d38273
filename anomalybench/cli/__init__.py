"""The command line; the only package that prints. What is heavy is imported inside the commands: help is instant."""

import os
import sys
from typing import Annotated

import typer

from anomalybench.cli import (
    console,
    data,
    drift,
    export,
    measure,
    models,
    page,
    predict,
    reference,
    run,
    serve,
    show,
    tables,
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Find out which method finds the defects in your images: at which threshold, where, at what cost.",
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        from anomalybench import __version__

        console.remark(f"anomalybench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=lambda v: _show_version(wanted=v))
    ] = False,
) -> None:
    pass


app.command()(run.run)
app.command("list")(show.list_)
app.command()(show.show)
app.command()(tables.leaderboard)
app.command()(page.report)
app.command()(tables.compare)
app.command()(tables.figures)
app.command()(run.score)
app.command()(measure.measure)
app.command()(predict.predict)
app.command()(predict.fit)
app.command()(export.export)
app.command()(export.latency)
app.command()(serve.serve)
app.command()(drift.drift)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(reference.app, name="reference")


def main() -> None:
    """Entry point: expected errors become one clear message and an exit code."""
    from anomalybench.core.errors import AnomalyBenchError

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except AnomalyBenchError as error:
        console.console(stderr=True).print(f"[bold red]Error:[/] {console.plain(error)}", soft_wrap=True)
        sys.exit(error.exit_code)
