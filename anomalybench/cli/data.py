"""Commands about images alone: what is wrong with them, and how they are split."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomalybench.cli import console, options

if TYPE_CHECKING:
    from anomalybench.core.dataset import Dataset

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

    Exit code 1 if images could be on both sides of a split, or something is wrong. The report is written to
    data_checks/ in the results folder, too.
    """
    from anomalybench.core import places
    from anomalybench.core.dataset import grouping
    from anomalybench.inspection import data_check

    plugin = _dataset(dataset, options.settings(settings), group_by)
    root = plugin.root(places.data(data))
    plugin = plugin.settled(root)
    with console.status() as say:
        reports = []
        for category in options.split(categories) or plugin.categories(root):
            say(f"{dataset}/{category}")
            reports.append(data_check.check(plugin, root, category))
    for report in reports:
        console.print_data_report(report)
        if group_by and (groups := grouping(plugin.thin(plugin.grouped(root, report.category)))):
            console.console().print(f"--group-by: {console.plain(groups)}", highlight=False)
    console.print_files([_write_json(results, f"{dataset}-{_place(root)}", data_check.to_json(reports))])
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
            (item.path, part, item.label, item.defect, item.category, job.seed, job.fold)
            for part in ("train", "calibration", "test")
            for item in getattr(parts, part)
        ]
    table = pd.DataFrame(rows, columns=["path", "split", "label", "defect", "category", "seed", "fold"])
    try:
        table.to_csv(out, index=False)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written ({error.strerror}).") from None
    console.print_files([out])


def _dataset(name: str, settings: dict[str, Any], group_by: str | None) -> "Dataset":
    """The plugin with its options from --set, of which none may be meant for something else."""
    from anomalybench.core import parameters, registry
    from anomalybench.core.errors import unknown

    params = {key.removeprefix(f"{name}."): value for key, value in settings.items()}
    if strange := [key for key in settings if not key.startswith(f"{name}.")]:
        raise unknown("name in --set", strange[0].partition(".")[0], [name])
    return parameters.build(registry.dataset(name), name, params | ({"group_by": group_by} if group_by else {}))


def _place(root: Path) -> str:
    """A name for a data folder that no other folder has."""
    from anomalybench.core.dataset import stable_hash
    from anomalybench.datasets._files import folder_name

    return f"{folder_name(root)}-{stable_hash(str(root.resolve())):016x}"[:-10]


def _write_json(results: Path, name: str, content: dict[str, Any]) -> Path:
    from anomalybench.core.errors import StoreError

    file = results / "data_checks" / f"{name}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Name another: --results DIR.") from None
    return file
