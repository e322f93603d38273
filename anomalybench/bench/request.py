"""What a user asks for. Command line and Python take their options from here: a new one is one more field.

The options of a command are made from these fields (`cli.options`), and so is the signature of `anomalybench.run`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from anomalybench.core.errors import UsageError, shortened, unknown
from anomalybench.core.places import RESULTS

if TYPE_CHECKING:
    from anomalybench.bench.settings import Settings


@dataclass(frozen=True)
class Option:
    """How a field shows on the command line.

    Attributes:
        help: What it is for.
        flag: Its name there, if that is not the field's.
        metavar: What stands for its value.
    """

    help: str
    flag: str = ""
    metavar: str = ""


Names = tuple[str, ...]
KEPT = ("all", "best", "none")
"""Which fitted methods a run may keep."""


@dataclass(frozen=True)
class Request:
    """A suite and changes to it, and how to run it; see the fields' descriptions in `anomalybench run --help`."""

    suite: Annotated[str | None, Option("A suite's name or YAML file.")] = None
    methods: Annotated[Names, Option("Methods, separated by commas.")] = ()
    dataset: Annotated[str | None, Option("Dataset; without it, --data is looked at.")] = None
    categories: Annotated[Names, Option("Categories, separated by commas.")] = ()
    protocol: Annotated[str | None, Option("How images are split; see `list protocols`.")] = None
    seeds: Annotated[tuple[int, ...], Option("Seeds, separated by commas.")] = ()
    threshold: Annotated[
        str | None, Option("Rule: youden, f1, fpr, normal_quantile or fixed; by default, what the calibration allows.")
    ] = None
    explain: Annotated[
        int | None, Option("Measure insertion and deletion on that many defective images of a job.", metavar="N")
    ] = None
    params: Annotated[
        Mapping[str, Any], Option("A parameter, as in cam.epochs=5 or kfold.k=3; repeatable.", flag="--set")
    ] = field(default_factory=dict)
    group_by: Annotated[
        str | None,
        Option("Images whose paths have the same match show one part and stay in the same split.", metavar="REGEX"),
    ] = None
    floors: Annotated[bool, Option("Run the floors random, brightness and pixel_knn as well.")] = True
    name: Annotated[str | None, Option("What the tables, the page and your folder are called.")] = None
    data: Annotated[Path | None, Option("Folder of the data; default $ANOMALYBENCH_DATA.")] = None
    skip_unreadable: Annotated[bool, Option("Go on without images that cannot be read; the records name them.")] = False
    results: Annotated[Path, Option("Folder of the results.")] = RESULTS
    keep_models: Annotated[
        str, Option("Fitted methods to keep: all, those of the best method, or none.", metavar="all|best|none")
    ] = "all"
    device: Annotated[str, Option("auto, cpu, gpu, cuda, cuda:1, ...")] = "auto"
    feature_gb: Annotated[
        float, Option("Disk for frozen features; 0 keeps none.", flag="--feature-store", metavar="GB")
    ] = 20.0
    force: Annotated[bool, Option("Run again what is already done.")] = False
    workers: Annotated[int, Option("Processes side by side on this machine.", metavar="N")] = 1
    cluster: Annotated[str | None, Option("A Dask scheduler, as in tcp://host:8786; or local.", metavar="ADDRESS")] = (
        None
    )
    shard: Annotated[str | None, Option("Only part I of the N into which the jobs fall.", metavar="I/N")] = None
    timeout: Annotated[float | None, Option("A job that takes longer has failed.", metavar="SECONDS")] = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Request":
        """A request from options by name, as Python users write them: `methods="cam,fcdd"` is a list, too.

        Raises:
            UsageError: An option that does not exist, or a value that is none of it.
        """
        import pydantic  # here, since the command line's help needs this file, and has to be quick

        hints, checked = get_type_hints(cls), {}
        for name, value in values.items():
            if name not in hints:
                raise unknown("option", name, hints)
            try:
                checked[name] = pydantic.TypeAdapter(hints[name]).validate_python(_listed(hints[name], value))
            except pydantic.ValidationError as error:
                detail = error.errors(include_input=False, include_url=False)[0]["msg"]
                raise UsageError(f"{name}={shortened(value)}: {detail}.") from None
        return cls(**checked)

    def __post_init__(self) -> None:
        if any(seed < 0 for seed in self.seeds):
            raise UsageError(f"seeds {', '.join(map(str, self.seeds))}: a seed is a whole number from 0 on.")
        name = self.name
        if name is not None and (not name.strip() or not name.isprintable() or len(name) > 60):
            raise UsageError(f"--name {shortened(name)}: use 1 to 60 printable characters.")
        if self.keep_models not in KEPT:
            raise UsageError(f"--keep-models {shortened(self.keep_models)}: write one of {', '.join(KEPT)}.")
        if self.explain is not None and self.explain < 0:
            raise UsageError(f"explain {self.explain}: a number of images, from 0 on.")

    def settings(self) -> "Settings":
        """How jobs are run."""
        from anomalybench.bench.settings import Settings  # as above

        keep = self.keep_models != "none"
        return Settings(self.device, self.feature_gb, self.timeout, self.workers, self.cluster, keep)


def options(cls: type[Request] = Request) -> dict[str, Option]:
    """What is said of each field."""
    hints = get_type_hints(cls, include_extras=True)
    return {one.name: get_args(hints[one.name])[1] for one in dataclasses.fields(cls)}


def _listed(hint: Any, value: Any) -> Any:
    """Names or numbers in a text become a list; one number is a list of one."""
    if hint not in (Names, tuple[int, ...]):
        return value
    parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else value
    return tuple(part.strip() if isinstance(part, str) else part for part in parts if part != "")
