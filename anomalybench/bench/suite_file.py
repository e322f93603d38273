"""Suites as YAML files: read with bounds, and checked before anything runs."""

from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from anomalybench.core import places
from anomalybench.core.errors import UsageError, shortened, unknown
from anomalybench.core.yaml_text import read_yaml

SUFFIXES = (".yaml", ".yml")


def _one_name(entry: Any) -> Any:
    if isinstance(entry, dict) and len(entry) != 1:
        names = ", ".join(shortened(key) for key in list(entry)[:10])
        raise ValueError(f"an entry is at most 1 item, a name with its parameters indented below it, not: {names}")
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


def files() -> dict[str, Path]:
    """The suites that come with the project by name."""
    return {file.stem: file for file in sorted(places.configs().glob("*.yaml"))}


def names() -> dict[str, str]:
    """Descriptions of the suites that come with the project, by name."""
    return {name: read(file).description for name, file in files().items()}


def find(name: str) -> Path:
    """File of a suite by its name or path.

    Raises:
        UsageError: There is no such suite.
    """
    if name.endswith(SUFFIXES):
        return Path(name)
    if name not in (known := files()):
        raise unknown("suite", name, known)
    return known[name]


def read(path: Path) -> SuiteFile:
    """A suite file.

    Raises:
        UsageError: It cannot be read, is too large, or a key or value does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not plain YAML: {error}") from None
    content = read_yaml(text, str(path))
    try:
        return SuiteFile.model_validate(content)
    except pydantic.ValidationError as error:
        first = min(error.errors(include_url=False), key=_vagueness)
        where = ".".join(str(part) for part in first["loc"] if "[" not in str(part) and part != "str")
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{path}: {unknown('key', where, SuiteFile.model_fields)}") from None
        found = shortened(first["input"])
        raise UsageError(f"{path}: {where or 'the file'}: {first['msg']}; found {found}.") from None


def _vagueness(error: Any) -> tuple[int, int]:
    """Sorts what is most likely meant to the front: a misspelt key, then the deepest slip."""
    order = ("extra_forbidden", "", "string_type")
    return order.index(error["type"]) if error["type"] in order else order.index(""), -len(error["loc"])
