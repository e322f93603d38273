import dataclasses
from typing import Annotated, Literal

import pytest
from pydantic import Field

from anomalybench.core.errors import UsageError
from anomalybench.core.parameters import REQUIRED, build, table, values_of


@dataclasses.dataclass
class Plugin:
    epochs: Annotated[int, Field(ge=1, le=100, description="passes over the images")] = 10
    rate: Annotated[float, Field(gt=0, lt=1, description="step size")] = 0.5
    flips: Annotated[bool, Field(description="random flips")] = False
    head: Annotated[Literal["gap", "max"], Field(description="pooling")] = "gap"
    limit: Annotated[int | None, Field(ge=1, description="at most this many")] = None
    name: str = "x"
    state_: list[int] = dataclasses.field(init=False, default_factory=list)

    def __post_init__(self):
        if self.epochs == 13:
            raise ValueError("13 brings bad luck")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"epochs": 1},
        {"epochs": 100},
        {"rate": 0.25},
        {"flips": True},
        {"head": "max"},
        {"limit": None},
        {"limit": 3, "name": "y"},
    ],
)
def test_values_that_fit_are_taken_and_the_rest_keep_their_defaults(values):
    defaults = {"epochs": 10, "rate": 0.5, "flips": False, "head": "gap", "limit": None, "name": "x"}
    assert values_of(build(Plugin, "plugin", values)) == {**defaults, **values}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "5"),
        ("epochs", 5.0),
        ("epochs", True),
        ("epochs", None),
        ("epochs", 0),
        ("epochs", 101),
        ("rate", "0.5"),
        ("rate", True),
        ("rate", 0.0),
        ("rate", 1),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("flips", 1),
        ("flips", "true"),
        ("head", "avg"),
        ("limit", 0),
        ("limit", 2.5),
        ("name", 3),
        ("name", None),
    ],
)
def test_wrong_types_and_values_out_of_range_are_refused(name, value):
    with pytest.raises(UsageError, match=f"plugin.{name} = "):
        build(Plugin, "plugin", {name: value})


def test_a_whole_number_for_a_float_becomes_one():
    @dataclasses.dataclass
    class Scaled:
        scale: float = 1.0

    built = build(Scaled, "scaled", {"scale": 3})
    assert (built.scale, type(built.scale)) == (3.0, float)


def test_an_unknown_name_gets_the_nearest_or_all():
    with pytest.raises(UsageError, match=r"unknown parameter of plugin 'epohs'. Did you mean 'epochs'\?"):
        build(Plugin, "plugin", {"epohs": 3})
    with pytest.raises(UsageError, match="Known: epochs, flips, head, limit, name, rate"):
        build(Plugin, "plugin", {"zzzzzz": 3})


def test_fitted_state_is_no_parameter():
    with pytest.raises(UsageError, match="state_"):
        build(Plugin, "plugin", {"state_": [1]})


def test_what_the_plugin_itself_refuses_is_a_usage_error():
    with pytest.raises(UsageError, match="plugin: 13 brings bad luck"):
        build(Plugin, "plugin", {"epochs": 13})


def test_values_build_the_same_again():
    built = build(Plugin, "plugin", {"epochs": 3, "limit": 2})
    assert build(Plugin, "plugin", values_of(built)) == built


def test_table_says_type_range_default_and_description():
    rows = {row.name: row for row in table(Plugin)}
    assert list(rows) == ["epochs", "rate", "flips", "head", "limit", "name"]
    epochs, rate, limit = rows["epochs"], rows["rate"], rows["limit"]
    assert (epochs.type, epochs.default, epochs.description) == ("int", 10, "passes over the images")
    assert set(epochs.range.split(", ")) == {">= 1", "<= 100"}
    assert (rate.type, rate.default) == ("float", 0.5)
    assert set(rate.range.split(", ")) == {"> 0", "< 1"}
    assert (limit.type, limit.default) == ("int | None", None)
    assert "gap" in rows["head"].type
    assert "max" in rows["head"].type
    assert (rows["name"].range, rows["name"].description) == ("", "")


@dataclasses.dataclass
class Demanding:
    at: Annotated[float, Field(description="the place", examples=[0.5])]
    name: str
    sizes: list[int] = dataclasses.field(default_factory=lambda: [1, 2])
    state_: int = dataclasses.field(init=False)


def test_a_required_parameter_that_is_left_out_is_named_with_the_way_to_give_it():
    with pytest.raises(UsageError, match=r"demanding needs at \(the place\)\. Give it: --set demanding\.at=0\.5"):
        build(Demanding, "demanding", {"name": "x"})
    with pytest.raises(UsageError, match=r"demanding needs name\. Give it: --set demanding\.name=VALUE"):
        build(Demanding, "demanding", {"at": 1.0})
    assert build(Demanding, "demanding", {"at": 1.0, "name": "x"}).sizes == [1, 2]


def test_table_says_what_is_required_and_calls_factories():
    assert {row.name: row.default for row in table(Demanding)} == {"at": REQUIRED, "name": REQUIRED, "sizes": [1, 2]}
