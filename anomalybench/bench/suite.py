"""Suites: YAML files that unfold into jobs, every name and parameter of which is checked before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from anomalybench.core import parameters, places, registry
from anomalybench.core.dataset import Dataset, Item, contents, fingerprint
from anomalybench.core.errors import UsageError, unknown
from anomalybench.core.job import Choice, Job
from anomalybench.core.split import PROTOCOLS, Protocol, Split
from anomalybench.evaluate.thresholds import RULES, Rule
from anomalybench.vision.file_checks import check_files

DEFAULT = "quickstart"
AD_HOC = "adhoc"


def _one_name(entry: Any) -> Any:
    if isinstance(entry, dict) and len(entry) != 1:
        found = ", ".join(map(str, entry))
        raise ValueError(f"an entry is at most 1 item, a name with its parameters indented below it, not: {found}")
    return entry


Named = Annotated[str | dict[str, dict[str, Any] | None], pydantic.BeforeValidator(_one_name)]
"""A name, or a mapping from one name to its parameters."""


class SuiteFile(BaseModel):
    """Layout of a suite's YAML file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    description: str = ""
    methods: Annotated[list[Named], Field(min_length=1)]
    datasets: Annotated[list[Named], Field(min_length=1)]
    protocol: Named = "pooled"
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    threshold: Named | None = None
    explain: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Request:
    """What a user asks for: a suite and changes to it. See `anomalybench run --help`.

    Attributes:
        suite: Name of a suite that comes with the project, or path of a YAML file; None with a dataset is ad hoc.
        methods: Run these methods instead of the suite's; the suite's parameters for them stay.
        dataset: Only this dataset of the suite, or the ad-hoc suite's.
        categories: Only these categories.
        protocol: Instead of the suite's.
        seeds: Instead of the suite's.
        threshold: Threshold rule instead of the suite's.
        explain: On how many defective test images of each job insertion and deletion are measured.
        params: Values by `NAME.PARAMETER`, NAME being a method, dataset, protocol or threshold rule.
        group_by: Regular expression for every dataset's `group_by`.
        data: Folder of the data.
    """

    suite: str | None = None
    methods: Sequence[str] = ()
    dataset: str | None = None
    categories: Sequence[str] = ()
    protocol: str | None = None
    seeds: Sequence[int] = ()
    threshold: str | None = None
    explain: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    group_by: str | None = None
    data: Path | None = None


@dataclass(frozen=True)
class Suite:
    """A suite unfolded.

    Attributes:
        name: File name without its ending.
        jobs: Every job, in the order in which they run.
    """

    name: str
    jobs: list[Job]


@dataclass(frozen=True)
class Table:
    """One category's items, where they lie, and the hash of each of their files' contents."""

    root: Path
    items: list[Item]
    hashes: dict[str, str]

    @cached_property
    def fingerprint(self) -> str:
        """See `dataset.fingerprint`."""
        return fingerprint(self.items, self.hashes)

    def split(self, job: Job) -> Split:
        """The items' parts under the job's protocol."""
        protocol: Protocol = parameters.build(PROTOCOLS[job.protocol.name], job.protocol.name, job.protocol.params)
        return protocol.split(self.items, job.seed, job.fold)


def names() -> dict[str, str]:
    """Descriptions of the suites that come with the project, by name."""
    return {file.stem: _read(file).description for file in sorted(places.configs().glob("*.yaml"))}


def load(request: Request, external: Choice | None = None) -> Suite:
    """Unfold what the user asks for into jobs.

    Args:
        request: What is asked for.
        external: Instead of methods, a tool that is none of our plugins and whose scores are read from a file.

    Raises:
        UsageError: A name, parameter or file that does not exist or does not fit.
        DataError: The data are needed to list categories or defect types, and are not there.
    """
    name, file = _base(request)
    if any(seed < 0 for seed in request.seeds):
        raise UsageError(f"seeds {list(request.seeds)}: a seed is a whole number from 0 on.")
    overrides = _Overrides(request.params)
    picked = _pick(request.methods, file.methods, extend=True)
    methods = [(external, 1)] if external else [_method(choice, overrides) for choice in picked]
    wanted = [request.dataset] if request.dataset else []
    datasets = _pick(wanted, file.datasets, extend=False)
    protocol = overrides.apply(_choice(request.protocol or file.protocol))
    cut: Protocol = parameters.build(_known("protocol", protocol.name, PROTOCOLS), protocol.name, protocol.params)
    protocol = Choice(name=protocol.name, params=parameters.values_of(cut))
    threshold = _threshold(request.threshold or file.threshold, overrides)
    jobs = [
        Job(method=method, version=version, dataset=choice, category=category, protocol=protocol, fold=fold,
            seed=seed, threshold=threshold, explain=file.explain if request.explain is None else request.explain)
        for choice, category in _categories(datasets, request, overrides)
        for seed in request.seeds or file.seeds
        for fold in _folds(cut, choice, category, request.data)
        for method, version in methods
    ]  # fmt: skip
    overrides.check_all_used()
    return Suite(name, list({job.id: job for job in jobs}.values()))


def load_table(choice: Choice, category: str, data: Path | None) -> Table:
    """Items of one category, their files' headers checked.

    Raises:
        DataError: The data are missing or broken.
    """
    plugin = build_dataset(choice)
    root = plugin.root(data)
    items = plugin.load(root, category)
    check_files(root, items)
    return Table(root, items, contents(root, items))


class _Overrides:
    """`NAME.PARAMETER` values, each of which must be used by something."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, dot, parameter = key.partition(".")
            if not (name and dot and parameter):
                raise UsageError(f"--set {key}: write NAME.PARAMETER=VALUE, as in --set cam.epochs=5.")
            self.values.setdefault(name, {})[parameter] = value
        self.seen: set[str] = set()

    def apply(self, choice: Choice) -> Choice:
        self.seen.add(choice.name)
        return choice.model_copy(update={"params": {**choice.params, **self.values.get(choice.name, {})}})

    def check_all_used(self) -> None:
        for name in self.values:
            if name not in self.seen:
                raise unknown("name in --set: nothing in this run is called", name, self.seen)


def _base(request: Request) -> tuple[str, SuiteFile]:
    if request.suite is None and request.dataset is not None:
        methods: list[Named] = [*request.methods] or ["cam", "fcdd"]
        return AD_HOC, SuiteFile(methods=methods, datasets=[request.dataset])
    name = request.suite or DEFAULT
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path.stem, _read(path)
    if name not in (known := {file.stem: file for file in places.configs().glob("*.yaml")}):
        raise unknown("suite", name, known)
    return name, _read(known[name])


def _read(path: Path) -> SuiteFile:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        raise UsageError(f"{path}: not plain YAML: {' '.join(str(error).split())}") from None
    try:
        return SuiteFile.model_validate(content)
    except pydantic.ValidationError as error:
        first = min(error.errors(), key=_vagueness)
        where = ".".join(str(part) for part in first["loc"] if "[" not in str(part) and part != "str")
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{path}: {unknown('key', where, SuiteFile.model_fields)}") from None
        raise UsageError(f"{path}: {where or 'the file'}: {first['msg']}; found {first['input']!r:.80}.") from None


def _vagueness(error: Any) -> tuple[int, int]:
    """Sorts what is most likely meant to the front: a misspelt key, then the deepest slip."""
    order = ("extra_forbidden", "", "string_type")
    return order.index(error["type"]) if error["type"] in order else order.index(""), -len(error["loc"])


def _choice(named: Named) -> Choice:
    if isinstance(named, str):
        return Choice(name=named)
    ((name, params),) = named.items()
    return Choice(name=name, params=params or {})


def _pick(wanted: Sequence[str], listed: Sequence[Named], *, extend: bool) -> list[Choice]:
    """The listed choices, or of them the wanted ones; with `extend`, wanted ones need not be listed."""
    choices = [_choice(named) for named in listed]
    if not wanted:
        return choices
    picked = []
    for name in wanted:
        matching = [choice for choice in choices if choice.name == name]
        if not matching and not extend:
            raise unknown("dataset of the suite", name, {choice.name for choice in choices})
        picked += matching or [Choice(name=name)]
    return picked


def _known(kind: str, name: str, known: Mapping[str, type]) -> type:
    if name not in known:
        raise unknown(kind, name, known)
    return known[name]


def _method(choice: Choice, overrides: _Overrides) -> tuple[Choice, int]:
    cls = registry.method(choice.name)
    built = parameters.build(cls, choice.name, overrides.apply(choice).params)
    return Choice(name=choice.name, params=parameters.values_of(built)), cls.version


def _threshold(named: Named | None, overrides: _Overrides) -> Choice | None:
    if named is None:
        return None
    choice = overrides.apply(_choice(named))
    rule: Rule = parameters.build(_known("threshold rule", choice.name, RULES), choice.name, choice.params)
    return Choice(name=choice.name, params=parameters.values_of(rule))


def build_dataset(choice: Choice) -> Dataset:
    """The plugin with its options, checked."""
    return parameters.build(registry.dataset(choice.name), choice.name, choice.params)


def _categories(choices: Sequence[Choice], request: Request, overrides: _Overrides) -> list[tuple[Choice, str]]:
    """Datasets with all their options, each with its categories: the wanted, the suite's, or those that are there."""
    found = []
    for choice in map(overrides.apply, choices):
        options = dict(choice.params) | ({"group_by": request.group_by} if request.group_by else {})
        listed = options.pop("categories", None)
        if listed is not None and not (isinstance(listed, list) and all(isinstance(c, str) for c in listed)):
            raise UsageError(f"{choice.name}.categories: write a list of names, as in [bottle, cable].")
        plugin = build_dataset(Choice(name=choice.name, params=options))
        full = Choice(name=choice.name, params=parameters.values_of(plugin))
        known = listed if listed is not None else plugin.categories(plugin.root(request.data))
        found += [(full, category) for category in known]
        if not known:
            raise UsageError(
                f"{choice.name}: no categories found in {plugin.root(request.data)}.\nSource: {plugin.source}"
            )
    names = {category for _, category in found}
    for category in request.categories:
        if category not in names:
            raise unknown(f"category of {', '.join(choice.name for choice in choices)}", category, names)
    return [(choice, category) for choice, category in found if category in (request.categories or names)]


def _folds(protocol: Protocol, choice: Choice, category: str, data: Path | None) -> list[str]:
    return protocol.folds(load_table(choice, category, data).items if protocol.folds_need_items else [])
