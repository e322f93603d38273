"""Options that several commands share: those of a request, made from its fields, and a few more."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from anomalybench.bench import request as requests
from anomalybench.bench.request import Names, Request
from anomalybench.core import places

SuiteArgument = Annotated[
    str | None, typer.Argument(metavar="[SUITE]", help="A suite's name or YAML file, or the name of a run.")
]
WantedArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME or RESULT]...",
        help="Suites, names of runs, or results by the beginning of their id; default: all.",
    ),
]
MODEL = "A promoted model (pill, pill/3), a job by how its id begins, best:RUN, or the folder of a model."
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
DataOption = Annotated[Path | None, typer.Option(help=requests.options()["data"].help)]
ResultsOption = Annotated[Path, typer.Option("--results", help=requests.options()["results"].help)]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the report page in a browser.")]
RESULTS = places.RESULTS
_LISTS = (Names, tuple[int, ...])


def with_request(*names: str, argument: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a request: its first parameter becomes one, of the class that it is typed with.

    Args:
        names: Fields of the request; all of them if none are named.
        argument: The field that is an argument instead of an option.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        first, *given = inspect.signature(command, eval_str=True).parameters.values()
        cls: type[Request] = first.annotation
        kinds = get_type_hints(cls)
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in given]
        fields = [one for one in dataclasses.fields(cls) if not names or one.name in names]
        made = [
            _parameter(one, kinds[one.name], requests.options(cls)[one.name], argument=one.name == argument)
            for one in fields
        ]

        @functools.wraps(command)
        def called(**values: Any) -> None:
            chosen = {one.name: _read(one.name, kinds[one.name], values.pop(one.name)) for one in fields}
            command(cls(**{name: value for name, value in chosen.items() if value is not None}), **values)

        parameters = [*made, *own] if argument else [*own, *made]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def _parameter(
    one: "dataclasses.Field[Any]", kind: Any, option: requests.Option, *, argument: bool
) -> inspect.Parameter:
    """A field of the request as typer wants it."""
    default: Any = one.default
    flag = option.flag or f"--{one.name.replace('_', '-')}"
    if kind in _LISTS:
        kind, default = str, ""
    elif one.name == "params":
        kind, default = list[str] | None, None
    elif kind is bool:
        flag = f"{flag}/--no-{one.name}" if one.default else flag
    annotation: Any = Annotated[kind, typer.Option(flag, help=option.help, metavar=option.metavar or None)]
    if argument:
        annotation = Annotated[kind, typer.Argument(metavar=f"[{one.name.upper()}]", help=option.help)]
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(name: str, kind: Any, value: Any) -> Any:
    """A value as the command line gives it, as the request wants it."""
    if name == "params":
        return _settings(value or [])
    if kind not in _LISTS:
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return tuple(parts) if kind == Names else _numbers(name, value, parts)


def _numbers(name: str, text: str, parts: list[str]) -> tuple[int, ...]:
    from anomalybench.core.errors import UsageError

    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise UsageError(f"--{name} {text}: write whole numbers separated by commas, as in --{name} 0,1,2.") from None


def _settings(texts: list[str]) -> Mapping[str, Any]:
    """Values by NAME.PARAMETER, read as YAML."""
    from anomalybench.core.errors import UsageError
    from anomalybench.core.yaml_text import read_yaml

    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write NAME.PARAMETER=VALUE, as in --set cam.epochs=5.")
        values[key.strip()] = read_yaml(value, f"--set {text}")
    return values
