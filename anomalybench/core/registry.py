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
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalybench.core.errors import UsageError, unknown

if TYPE_CHECKING:
    from anomalybench.core.dataset import Dataset
    from anomalybench.core.method import Method
    from anomalybench.core.protocol import Protocol

KINDS = {
    "methods": "anomalybench.core.method.Method",
    "datasets": "anomalybench.core.dataset.Dataset",
    "protocols": "anomalybench.core.protocol.Protocol",
}
"""Base class of each kind; a kind's entry points are those of the group `anomalybench.KIND`."""


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


@dataclass(frozen=True)
class _Package:
    name: str
    provider: str
    path: Iterable[str] = ()
    trouble: str = ""


@cache
def plugins(kind: str) -> dict[str, Plugin]:
    """All plugins of a kind by name, built-in and third-party, sorted by name.

    Args:
        kind: One of `KINDS`.

    Raises:
        UsageError: Two packages bring the same name.
    """
    by_name: dict[str, Plugin] = {}
    for package in _packages(kind):
        for info in pkgutil.iter_modules(package.path):
            module = f"{package.name}.{info.name}"
            if info.name.startswith("_"):
                continue
            if info.name in by_name and by_name[info.name].module != module:
                raise UsageError(
                    f"two {kind} are called '{info.name}': {by_name[info.name].module} and {module}. "
                    "Rename one of the files or uninstall one of the packages."
                )
            summary = _summary(info.module_finder.find_spec(info.name, None))
            by_name[info.name] = Plugin(info.name, module, package.provider, summary)
    return dict(sorted(by_name.items()))


def broken(kind: str) -> list[str]:
    """One sentence for each package of plugins that cannot be imported: its plugins are missing from the list."""
    return [package.trouble for package in _packages(kind) if package.trouble]


def method(name: str) -> "type[Method]":
    """Class of the method called `name`; UsageError if there is none or a library it needs is missing."""
    return load("methods", name)


def dataset(name: str) -> "type[Dataset]":
    """Class of the dataset called `name`; UsageError if there is none or a library it needs is missing."""
    return load("datasets", name)


def protocol(name: str) -> "type[Protocol]":
    """Class of the protocol called `name`; UsageError if there is none or a library it needs is missing."""
    return load("protocols", name)


def load(kind: str, name: str) -> type[Any]:
    """Class of the plugin called `name`.

    Raises:
        UsageError: There is none, its file is not Python, or a library it needs is missing.
    """
    available = plugins(kind)
    if name not in available:
        raise UsageError(" ".join([str(unknown(kind[:-1], name, available)), *broken(kind)]))
    plugin = available[name]
    try:
        module = importlib.import_module(plugin.module)
    except SyntaxError as error:
        raise UsageError(f"{kind[:-1]} '{name}' cannot be read: {error}. Mend the file of {plugin.module}.") from None
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or importlib.util.find_spec(missing) is not None:
            raise
        raise UsageError(
            f"{kind[:-1]} '{name}' needs the package '{missing}': pip install {missing.replace('_', '-')}"
        ) from error
    where, _, base_name = KINDS[kind].rpartition(".")
    base = getattr(importlib.import_module(where), base_name)
    classes = [
        c for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, base) and c.__module__ == module.__name__ and not c.__name__.startswith("_")
    ]  # fmt: skip
    if len(classes) != 1:
        raise UsageError(f"{plugin.module} must define exactly one public {base_name}, found {len(classes)}.")
    return classes[0]


def _packages(kind: str) -> list[_Package]:
    """The packages that entry points name, also those that cannot be imported."""
    if kind not in KINDS:
        raise unknown("kind of plugin", kind, KINDS)
    points = sorted(entry_points(group=f"anomalybench.{kind}"), key=lambda p: (p.name, p.value))
    return [_package(kind, point) for point in points]


def _package(kind: str, point: EntryPoint) -> _Package:
    try:
        return _Package(point.value, point.name, importlib.import_module(point.value).__path__)
    except Exception as error:  # a package of others may raise anything, and the other plugins must be listed
        reason = "it is not a package" if isinstance(error, AttributeError) else f"{type(error).__name__}: {error}"
        trouble = (
            f"The {kind} of '{point.name}' are missing: {point.value} cannot be imported ({reason}). "
            "Install what it needs, or uninstall it."
        )
        return _Package(point.value, point.name, trouble=trouble)


def _summary(spec: importlib.machinery.ModuleSpec | None) -> str:
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    try:
        doc = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))
    except SyntaxError as error:
        return f"cannot be read: {error.msg}"
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return (doc or "").partition("\n")[0]
