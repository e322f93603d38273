"""What several commands share: options, and how their values are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

SuiteArgument = Annotated[str | None, typer.Argument(metavar="[SUITE]", help="A suite's name or YAML file.")]
SuiteOption = Annotated[str | None, typer.Option("--suite", help="A suite's name or YAML file.")]
DatasetOption = Annotated[str | None, typer.Option(help="Dataset; without a suite, an ad-hoc suite of it.")]
CategoriesOption = Annotated[str, typer.Option(help="Categories, separated by commas.")]
ProtocolOption = Annotated[str | None, typer.Option(help="How images are split; see `list protocols`.")]
SeedsOption = Annotated[str, typer.Option(help="Seeds, separated by commas.")]
ThresholdOption = Annotated[str | None, typer.Option(help="Rule: youden, f1, fpr, normal_quantile or fixed.")]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter, as in cam.epochs=5 or kfold.k=3; repeatable.")
]
ExplainOption = Annotated[
    int | None, typer.Option(min=0, help="Measure insertion and deletion on that many defective images of a job.")
]
FeatureStoreOption = Annotated[
    float, typer.Option("--feature-store", metavar="GB", min=0, help="Disk for frozen features; 0 keeps none.")
]
WorkersOption = Annotated[int, typer.Option(metavar="N", help="Processes side by side on this machine.")]
ClusterOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler, as in tcp://host:8786; or local.")
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Only part I of the N into which the jobs fall.")
]
TimeoutOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="A job that takes longer has failed.")]
GroupByOption = Annotated[
    str | None,
    typer.Option(metavar="REGEX", help="Images with the same match show one part and stay in the same split."),
]
DataOption = Annotated[Path | None, typer.Option(help="Folder of the data; default $ANOMALYBENCH_DATA.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of the results.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the report page in a browser.")]
RESULTS = Path("results")


def split(text: str) -> list[str]:
    """Names separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def seeds(text: str) -> list[int]:
    """Whole numbers separated by commas."""
    from anomalybench.core.errors import UsageError

    try:
        return [int(part) for part in split(text)]
    except ValueError:
        raise UsageError(f"--seeds {text}: write whole numbers separated by commas, as in --seeds 0,1,2.") from None


def settings(texts: list[str] | None) -> dict[str, Any]:
    """Values by NAME.PARAMETER, read as YAML."""
    import yaml

    from anomalybench.core.errors import UsageError

    values = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise UsageError(f"--set {text}: write NAME.PARAMETER=VALUE, as in --set cam.epochs=5.")
    return values
