"""From what a user asks for to jobs: every name and parameter is checked before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalybench.bench import suite_file
from anomalybench.bench.item_table import ItemTables
from anomalybench.bench.request import Request
from anomalybench.bench.suite_file import Named, SuiteFile
from anomalybench.core import parameters, registry
from anomalybench.core.dataset import Dataset
from anomalybench.core.errors import DataError, UsageError, unknown
from anomalybench.core.job import Choice, Job
from anomalybench.core.method import Method
from anomalybench.core.protocol import Protocol
from anomalybench.core.record import MeasureOptions
from anomalybench.datasets import _layout as layout
from anomalybench.datasets._files import folder_name
from anomalybench.evaluate.thresholds import RULES

DEFAULT = "quickstart"
METHODS = ("cam", "fcdd")
"""What runs on a user's own images where no method is named."""
FLOORS = ("random", "brightness", "pixel_knn")
"""Methods that nothing worth its cost may fail to beat."""


@dataclass(frozen=True)
class Suite:
    """A suite unfolded.

    Attributes:
        name: What its tables and page are called.
        jobs: Every job, in the order in which they run.
        options: What is measured on each.
        own: It is no suite file, but images of the user's own: its name collects what was run under it.
        understood: What the data folder was taken for, where the user did not say.
    """

    name: str
    jobs: list[Job]
    options: MeasureOptions
    own: bool = False
    understood: str = ""


@dataclass(frozen=True)
class _Base:
    """What the request starts from: a suite file, or one made for the user's data."""

    name: str
    content: SuiteFile
    own: bool = False
    understood: str = ""


@dataclass(frozen=True)
class _Category:
    """One category of a dataset with all its options."""

    dataset: Choice
    name: str


def load(request: Request, tables: ItemTables, external: Choice | None = None) -> Suite:
    """Unfold what the user asks for into jobs.

    Args:
        request: What is asked for.
        tables: Where the items of categories come from.
        external: Instead of methods, a tool that is none of our plugins and whose scores are read from a file.

    Raises:
        UsageError: A name, parameter or file that does not exist or does not fit.
        DataError: The data are needed to list categories or defect types, and are not there.
    """
    data = tables.source.data
    base = _base(request, data)
    overrides = _Overrides(request.params)
    methods = [(external, 1)] if external else _methods(request, base.content, overrides)
    protocol = _protocol(request.protocol or base.content.protocol, overrides)
    choice = Choice.of(_name(request.protocol or base.content.protocol), protocol)
    options = MeasureOptions(
        threshold=_threshold(request.threshold or base.content.threshold, overrides),
        explain=base.content.explain if request.explain is None else request.explain,
    )
    categories = _categories(request, base, overrides, data)
    jobs = [
        Job(method=method, version=version, dataset=category.dataset, category=category.name, protocol=choice,
            fold=fold, seed=seed)
        for category in categories
        for seed in request.seeds or base.content.seeds
        for fold in _folds(protocol, category, tables)
        for method, version in methods
    ]  # fmt: skip
    overrides.check_all_used()
    return Suite(base.name, list({job.id: job for job in jobs}.values()), options, base.own, base.understood)


@dataclass(frozen=True)
class Categories:
    """Images that a request means.

    Attributes:
        listed: Datasets, with all their options, and their categories.
        understood: What the data folder was taken for, where the user did not say.
    """

    listed: list[tuple[Choice, str]]
    understood: str


def categories_of(request: Request, data: Path | None) -> Categories:
    """The images that a request means.

    Raises:
        UsageError: A name or parameter that does not exist or does not fit.
        DataError: The data are not there.
    """
    overrides = _Overrides(request.params)
    base = _base(request, data)
    found = _categories(request, base, overrides, data)
    overrides.check_all_used()
    return Categories([(category.dataset, category.name) for category in found], base.understood)


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

    def apply(self, named: Named) -> Choice:
        """A name with its parameters, those of the request taking precedence."""
        name = _name(named)
        self.seen.add(name)
        params = {} if isinstance(named, str) else named[name] or {}
        return Choice(name=name, params={**params, **self.values.get(name, {})})

    def check_all_used(self) -> None:
        for name in self.values:
            if name not in self.seen:
                raise unknown("name in --set: nothing in this run is called", name, self.seen)


def _base(request: Request, data: Path | None) -> _Base:
    if request.name in (known := _taken()) and request.name != request.suite:
        raise UsageError(f"--name {request.name}: is taken, as {', '.join(sorted(known))} are. Take another name.")
    if request.suite is not None:
        file = suite_file.find(request.suite)
        return _Base(request.name or file.stem, suite_file.read(file))
    if request.dataset is not None:
        content = SuiteFile(methods=list(METHODS), datasets=[request.dataset])
        return _Base(request.name or _own_name(request.dataset, data), content, own=True)
    if request.data is not None:
        found = _layout_of(request.data, request.params)
        named: Named = {found.dataset: dict(found.params) | _listed(found.categories)}
        content = SuiteFile(methods=list(METHODS), datasets=[named])
        return _Base(request.name or _own_name(found.dataset, data), content, own=True, understood=found.understood)
    return _Base(request.name or DEFAULT, suite_file.read(suite_file.find(DEFAULT)))


def _layout_of(data: Path, params: Mapping[str, Any]) -> layout.Layout:
    """What a folder is taken for; where that is in doubt, the dataset of which a parameter is given settles it."""
    try:
        return layout.recognise(data)
    except DataError:
        named = {key.partition(".")[0] for key in params} & set(registry.plugins("datasets"))
        if len(named) != 1 or not data.is_dir():
            raise
        name = named.pop()
        return layout.Layout(name, data, f"data of {name}, since --set names a parameter of it")


def _listed(categories: Sequence[str]) -> dict[str, Any]:
    return {"categories": list(categories)} if categories else {}


def _own_name(dataset: str, data: Path | None) -> str:
    """Named after the data folder, or the dataset where there is none; never like a suite."""
    name = dataset if data is None else folder_name(data)
    return f"{name}-images" if name in _taken() else name


def _taken() -> set[str]:
    """Names whose tables are those of a suite, or of all there is."""
    return {*suite_file.files(), "all"}


def _methods(request: Request, content: SuiteFile, overrides: _Overrides) -> list[tuple[Choice, int]]:
    """The wanted methods with the suite's parameters, or all of the suite's; and the floors."""
    listed: dict[str, list[Named]] = {}
    for named in content.methods:
        listed.setdefault(_name(named), []).append(named)
    wanted = [one for name in request.methods for one in listed.get(name, [name])] or content.methods
    floors = [name for name in FLOORS if name not in map(_name, wanted)] if request.floors else []
    found = []
    for named in (*floors, *wanted):
        choice = overrides.apply(named)
        cls = registry.method(choice.name)
        found.append((Choice.of(choice.name, parameters.build(cls, choice.name, choice.params)), cls.version))
    return found


def built_methods(suite: Suite) -> list[Method]:
    """Each different method of the suite once, not fitted."""
    choices = {job.method.model_dump_json(): job.method for job in suite.jobs}
    return [parameters.build(registry.method(c.name), c.name, c.params) for c in choices.values()]


def _protocol(named: Named, overrides: _Overrides) -> Protocol:
    choice = overrides.apply(named)
    return parameters.build(registry.protocol(choice.name), choice.name, choice.params)


def _threshold(named: Named | None, overrides: _Overrides) -> Choice | None:
    if named is None:
        return None
    choice = overrides.apply(named)
    if choice.name not in RULES:
        raise unknown("threshold rule", choice.name, RULES)
    return Choice.of(choice.name, parameters.build(RULES[choice.name], choice.name, choice.params))


def _categories(request: Request, base: _Base, overrides: _Overrides, data: Path | None) -> list[_Category]:
    """Datasets with all their options, each with its categories: the wanted, the suite's, or those that are there."""
    datasets = base.content.datasets
    if request.dataset is not None:
        datasets = [named for named in datasets if _name(named) == request.dataset]
        if not datasets:
            raise unknown("dataset of the suite", request.dataset, {_name(named) for named in base.content.datasets})
    found = [one for named in datasets for one in _of_dataset(overrides.apply(named), request, data)]
    names = {category.name for category in found}
    for category in request.categories:
        if category not in names:
            raise unknown(f"category of {', '.join(map(_name, datasets))}", category, names)
    return [category for category in found if category.name in (request.categories or names)]


def _of_dataset(choice: Choice, request: Request, data: Path | None) -> list[_Category]:
    options = dict(choice.params) | ({"group_by": request.group_by} if request.group_by else {})
    listed = options.pop("categories", None)
    if listed is not None and not (isinstance(listed, list) and all(isinstance(c, str) for c in listed)):
        raise UsageError(f"{choice.name}.categories: write a list of names, as in [bottle, cable].")
    cls = registry.dataset(choice.name)
    if request.name and "name" in {row.name for row in parameters.table(cls)}:
        options.setdefault("name", request.name)
    plugin: Dataset = parameters.build(cls, choice.name, options)
    if listed is None:
        root = plugin.root(data)
        plugin = plugin.settled(root)
        listed = plugin.categories(root)
        if not listed:
            raise UsageError(
                f"{choice.name}: no categories found in {root} ({layout.seen(root)}).\n{layout.advice(root)}"
            )
    elif data is not None:
        plugin = plugin.settled(plugin.root(data))
    return [_Category(Choice.of(choice.name, plugin), category) for category in listed]


def _folds(protocol: Protocol, category: _Category, tables: ItemTables) -> list[str]:
    items = tables.get(category.dataset, category.name).items if protocol.folds_need_items else []
    return protocol.folds(items)


def _name(named: Named) -> str:
    return named if isinstance(named, str) else next(iter(named))
