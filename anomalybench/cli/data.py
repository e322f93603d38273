"""Commands about images alone: what is wrong with them, and how they are split."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anomalybench.bench.request import Request
from anomalybench.cli import console, options

app = typer.Typer(no_args_is_help=True, help="Check a dataset's images, or write down how they are split.")
_COLUMNS = ["path", "split", "label", "defect", "category", "seed", "fold"]


@app.command()
@options.with_request("dataset", "categories", "params", "group_by", "data", "results", argument="dataset")
def check(request: Request) -> None:
    """Look for what would invalidate results: broken files, duplicates and near duplicates, bad masks, contradictions.

    Exit code 1 if images could be on both sides of a split, or something is wrong. The report is written to
    data_checks/ in the results folder, too.
    """
    from anomalybench.bench import suite
    from anomalybench.bench.item_table import build_dataset
    from anomalybench.core import places
    from anomalybench.core.dataset import grouping
    from anomalybench.inspection import data_check

    _check_named(request, "check")
    data = places.data(request.data)
    reports, grouped = [], []
    with console.status() as say:
        say("reading folders")
        categories = suite.categories_of(request, data)
        for choice, category in categories.listed:
            say(f"{choice.name}/{category}")
            plugin = build_dataset(choice)
            root = plugin.root(data)
            reports.append(data_check.check(plugin, root, category))
            grouped.append(grouping(plugin.thin(plugin.grouped(root, category))) if request.group_by else None)
    if categories.understood:
        console.remark(f"--data is read as {categories.understood}")
    for report, groups in zip(reports, grouped, strict=True):
        console.print_data_report(report)
        if groups:
            console.remark(f"--group-by: {groups}")
    name = f"{reports[0].dataset}-{_place(root)}"
    console.print_files([_write_json(request.results, name, data_check.to_json(reports))])
    if any(report.leaks or report.errors for report in reports):
        sys.exit(1)
    if categories.understood and not request.params:
        console.remark(f"Next: anomalybench run --data {shlex.quote(str(request.data))}")


@app.command()
@options.with_request("dataset", "categories", "protocol", "seeds", "params", "group_by", "data", argument="dataset")
def split(request: Request, out: Annotated[Path, typer.Option(help="CSV file to write.")]) -> None:
    """Write which image is in the train, calibration or test part: what another tool may train on."""
    import pandas as pd

    from anomalybench.bench import external
    from anomalybench.bench.session import Session
    from anomalybench.core.files import write_text
    from anomalybench.report.files import csv_text

    _check_named(request, "split --out FILE")
    session = Session(request, external.choice("split"))
    if session.suite.understood:
        console.remark(f"--data is read as {session.suite.understood}")
    rows = []
    for job in session.suite.jobs:
        parts = session.tables.get(job.dataset, job.category).split(job)
        rows += [
            (_harmless(item.path), part, item.label, item.defect, item.category, job.seed, job.fold)
            for part in ("train", "calibration", "test")
            for item in getattr(parts, part)
        ]
    write_text(out, csv_text(pd.DataFrame(rows, columns=_COLUMNS)), "--out FILE")
    console.print_files([out])


def _check_named(request: Request, command: str) -> None:
    from anomalybench.core.errors import UsageError

    if request.dataset is None and request.data is None:
        raise UsageError(
            f"data {command}: name the images by DATASET or --data DIR, as in anomalybench data {command} --data DIR."
        )


def _harmless(path: str) -> str:
    """A path that no spreadsheet takes for a formula, and that still names the file."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@")) else path


def _place(root: Path) -> str:
    """A name for a data folder that no other folder has."""
    from anomalybench.core.dataset import stable_hash
    from anomalybench.datasets._files import folder_name

    return f"{folder_name(root)}-{stable_hash(str(root.resolve())):016x}"[:-10]


def _write_json(results: Path, name: str, content: dict[str, Any]) -> Path:
    from anomalybench.core.files import write_text

    file = results / "data_checks" / f"{name}.json"
    write_text(file, json.dumps(content, indent=1) + "\n")
    return file
