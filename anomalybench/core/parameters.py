"""Parameters of plugins and protocols: the fields of a dataclass, checked one by one with pydantic.

Types are strict (`"5"` is not an integer, `true` is not a number) so that a slip in a YAML file is refused
instead of being read as something else.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic
from pydantic.fields import FieldInfo

from anomalybench.core.errors import UsageError, unknown

T = TypeVar("T")
REQUIRED = "required"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One row of a parameter table; the default is `REQUIRED` where a value must be given."""

    name: str
    type: str
    range: str
    default: Any
    description: str


def build(cls: type[T], owner: str, values: Mapping[str, Any]) -> T:
    """Construct the dataclass `cls` from checked values.

    Args:
        cls: A dataclass whose fields are its parameters.
        owner: The plugin's name, for error texts.
        values: Parameter values by field name; fields left out keep their default.

    Raises:
        UsageError: Unknown field (the nearest is offered), wrong type, value out of range, or a required one left out.
    """
    fields = _fields(cls)
    checked = {}
    for name, value in values.items():
        if name not in fields:
            raise unknown(f"parameter of {owner}", name, fields)
        try:
            adapter = pydantic.TypeAdapter(fields[name], config=pydantic.ConfigDict(allow_inf_nan=False))
            checked[name] = adapter.validate_python(value, strict=True)
        except pydantic.ValidationError as error:
            reasons = "; ".join(dict.fromkeys(detail["msg"] for detail in error.errors()))
            raise UsageError(f"{owner}.{name} = {value!r}: {reasons}. See `anomalybench show {owner}`.") from None
    if missing := [name for name in fields if name not in checked and name not in defaults(cls)]:
        raise _missing(owner, missing[0], fields[missing[0]])
    try:
        return cls(**checked)
    except ValueError as error:
        raise UsageError(f"{owner}: {error}. See `anomalybench show {owner}`.") from None


def values_of(instance: Any) -> dict[str, Any]:
    """All parameters of a dataclass instance by name, defaults included."""
    return {name: getattr(instance, name) for name in _fields(type(instance))}


def table(cls: type) -> list[Parameter]:
    """Rows of name, type, range, default and description for each parameter of the dataclass `cls`."""
    known = defaults(cls)
    rows = []
    for name, annotation in _fields(cls).items():
        info = FieldInfo.from_annotation(annotation)
        limits = ", ".join(text for text in map(_limit, info.metadata) if text)
        default = known.get(name, REQUIRED)
        rows.append(Parameter(name, _type_text(info.annotation), limits, default, info.description or ""))
    return rows


def _fields(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def defaults(cls: type) -> dict[str, Any]:
    """Default of each parameter that has one."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.default is not dataclasses.MISSING:
            found[f.name] = f.default
        elif f.default_factory is not dataclasses.MISSING:
            found[f.name] = f.default_factory()
    return found


def _missing(owner: str, name: str, annotation: Any) -> UsageError:
    info = FieldInfo.from_annotation(annotation)
    example = next(iter(info.examples or ()), "VALUE")
    what = f" ({info.description})" if info.description else ""
    return UsageError(f"{owner} needs {name}{what}. Give it: --set {owner}.{name}={example}")


def _type_text(annotation: Any) -> str:
    """`int`, or alternatives as in `int | None` and `adam | sgd`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _type_text(typing.get_args(annotation)[0])
    if arguments := typing.get_args(annotation):
        return " | ".join(map(_type_text, arguments))
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _limit(constraint: Any) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(f"{signs[k]} {getattr(constraint, k)}" for k in signs if hasattr(constraint, k))
