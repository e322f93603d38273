"""Commands about images alone: what is wrong with them, and how they are split."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anomalybench.cli import console, options

app = typer.Typer(no_args_is_help=True, help="Check a dataset's images, or write down how they are split.")
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset; see `list datasets`.")]


@app.command()
def check(
    dataset: DatasetArgument,
    categories: options.CategoriesOption = "",
    settings: options.SettingsOption = None,
    group_by: options.GroupByOption = None,
    data: options.DataOption = None,
    results: options.ResultsOption = options.RESULTS,
) -> None:
    """Look for what would invalidate results: broken files, duplicates and near duplicates, bad masks, contradictions.

    Exit code 1 if something leaks or is wrong. What is found is written to data_checks/ in the results folder, too.
    """
    from anomalybench.bench import data_check, suite
    from anomalybench.core import places
    from anomalybench.core.errors import unknown
    from anomalybench.core.job import Choice

    given = options.settings(settings)
    params = {key.removeprefix(f"{dataset}."): value for key, value in given.items()}
    if strange := [key for key in given if not key.startswith(f"{dataset}.")]:
        raise unknown("name in --set", strange[0].partition(".")[0], [dataset])
    plugin = suite.build_dataset(Choice(name=dataset, params=params | ({"group_by": group_by} if group_by else {})))
    root = plugin.root(places.data(data))
    wanted = options.split(categories) or plugin.categories(root)
    with console.status() as say:
        reports = []
        for category in wanted:
            say(f"{dataset}/{category}")
            reports.append(data_check.check(plugin, root, category))
    for report in reports:
        console.print_data_report(report)
    console.print_files([_write_json(results, dataset, data_check.to_json(reports))])
    if any(report.leaks or report.errors for report in reports):
        sys.exit(1)


@app.command()
def split(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    categories: options.CategoriesOption = "",
    protocol: options.ProtocolOption = None,
    seeds: options.SeedsOption = "",
    settings: options.SettingsOption = None,
    group_by: options.GroupByOption = None,
    data: options.DataOption = None,
) -> None:
    """Write which image is in the train, calibration or test part: what another tool may train on."""
    import pandas as pd

    from anomalybench.bench import external, suite
    from anomalybench.core import places
    from anomalybench.core.errors import StoreError
    from anomalybench.report.files import csv_text

    request = suite.Request(
        dataset=dataset, categories=options.split(categories), protocol=protocol, seeds=options.seeds(seeds),
        params=options.settings(settings), group_by=group_by, data=places.data(data),
    )  # fmt: skip
    jobs = suite.load(request, external.choice("split")).jobs
    tables = {job.category: suite.load_table(job.dataset, job.category, request.data) for job in jobs}
    rows = []
    for job in jobs:
        parts = tables[job.category].split(job)
        rows += [
            (_relative(item.path), part, item.label, item.defect, item.category, job.seed, job.fold)
            for part in ("train", "calibration", "test")
            for item in getattr(parts, part)
        ]
    table = pd.DataFrame(rows, columns=["path", "split", "label", "defect", "category", "seed", "fold"])
    try:
        out.write_text(csv_text(table), encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"{out}: cannot be written ({error.strerror}).") from None
    console.print_files([out])


def _relative(path: str) -> str:
    """A path that no spreadsheet takes for a formula and that names the same file."""
    return path if path[:1].isalnum() else f"./{path}"


def _write_json(results: Path, dataset: str, content: dict[str, Any]) -> Path:
    from anomalybench.core.errors import StoreError

    file = results / "data_checks" / f"{dataset}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Name another: --results DIR.") from None
    return file
