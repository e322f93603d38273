"""Commands about images alone: what is wrong with them, and how they are split."""

from pathlib import Path
from typing import Annotated

import typer

from anomalybench.cli import console, options

app = typer.Typer(no_args_is_help=True, help="Check a dataset's images, or write down how they are split.")
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset; see `list datasets`.")]


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
