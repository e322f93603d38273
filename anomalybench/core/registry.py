"""Plugins: one file is one plugin, and its name is the file's name.

An entry point names a package; the modules in it are listed without being imported, so that a plugin whose optional
library is missing, or that is slow to import, costs nothing until it is used.
"""

import ast
import importlib
import importlib.machinery
import importlib.util
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, TypeVar

from anomalybench.core.dataset import Dataset
from anomalybench.core.errors import UsageError, unknown
from anomalybench.core.method import Method

T = TypeVar("T")
Kind = Literal["methods", "datasets"]


@dataclass(frozen=True)
class Plugin:
    """A plugin that has been found, not yet imported.

    Attributes:
        name: The module's file name without its ending.
        module: Its full import path.
        provider: Name of the entry point that brought it.
        summary: First line of the module's docstring.
    """

    name: str
    module: str
    provider: str
    summary: str


@cache
def plugins(kind: Kind) -> dict[str, Plugin]:
    """All plugins of a kind by name, built-in and third-party, sorted by name.

    Raises:
        UsageError: Two packages bring the same name.
    """
    found: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=f"anomalybench.{kind}"), key=lambda p: (p.name, p.value)):
        package = importlib.import_module(point.value)
        for info in pkgutil.iter_modules(package.__path__):
            if info.name.startswith("_"):
                continue
            if info.name in found and found[info.name].module != f"{point.value}.{info.name}":
                raise UsageError(
                    f"two {kind} are called '{info.name}': {found[info.name].module} and {point.value}.{info.name}. "
                    "Rename one of the files or uninstall one of the packages."
                )
            summary = _summary(info.module_finder.find_spec(info.name, None))
            found[info.name] = Plugin(info.name, f"{point.value}.{info.name}", point.name, summary)
    return dict(sorted(found.items()))


def method(name: str) -> type[Method]:
    """Class of the method called `name`; UsageError if there is none or a library it needs is missing."""
    return _load("methods", name, Method)  # type: ignore[type-abstract]


def dataset(name: str) -> type[Dataset]:
    """Class of the dataset called `name`; UsageError if there is none or a library it needs is missing."""
    return _load("datasets", name, Dataset)  # type: ignore[type-abstract]


def _load(kind: Kind, name: str, base: type[T]) -> type[T]:
    known = plugins(kind)
    if name not in known:
        raise unknown(kind[:-1], name, known)
    plugin = known[name]
    try:
        module = importlib.import_module(plugin.module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or importlib.util.find_spec(missing) is not None:
            raise
        raise UsageError(
            f"{kind[:-1]} '{name}' needs the package '{missing}': pip install {missing.replace('_', '-')}"
        ) from error
    classes = [
        c for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, base) and c.__module__ == module.__name__ and not c.__name__.startswith("_")
    ]  # fmt: skip
    if len(classes) != 1:
        raise UsageError(f"{plugin.module} must define exactly one public {base.__name__}, found {len(classes)}.")
    return classes[0]


def _summary(spec: importlib.machinery.ModuleSpec | None) -> str:
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    try:
        doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    except SyntaxError:
        return "cannot be read: syntax error"
    return (doc or "").partition("\n")[0]
