"""Defaults belong to what a result means: changing one takes a new `version`, and nothing else moves an id.

`python tests/core/test_defaults.py` writes the file of defaults anew.
"""

import json
from dataclasses import field, fields, make_dataclass
from pathlib import Path

import pytest

from anomalybench.core import parameters, registry
from anomalybench.core.errors import UsageError
from anomalybench.core.job import Choice, Job
from anomalybench.evaluate.thresholds import RULES

FILE = Path(__file__).with_name("defaults.json")
PINNED = json.loads(FILE.read_text()) if FILE.exists() else {}
UPDATE = "then write the defaults anew: python tests/core/test_defaults.py"
PLUGINS = [(kind, name) for kind in registry.KINDS for name in registry.plugins(kind)]
VALUES = [1, 2, 3, 5, 7, 0.1, 0.3, 0.9, 1.5, 32, 64, 256, True, False, "x", ["x"]]


def facts(kind, name):
    """Version and defaults of a plugin, as JSON holds them."""
    cls = RULES[name] if kind == "thresholds" else registry.load(kind, name)
    defaults = json.loads(json.dumps(parameters.defaults(cls)))
    return {"version": getattr(cls, "version", None), "defaults": defaults}


def change(name, then, now):
    """What is wrong if a plugin was `then` and is `now`, and what to do about it; None if nothing is."""
    wanting = object()
    changed = [key for key, value in then["defaults"].items() if now["defaults"].get(key, wanting) != value]
    if then["version"] != now["version"]:
        return f"{name} has a new version: {UPDATE}"
    if not changed:
        return None
    listed = ", ".join(changed)
    if then["version"] is None:
        return f"{name}: other defaults ({listed}) void all stored results with it. If that is meant, {UPDATE}"
    return f"{name}: defaults have changed ({listed}). Add 1 to its `version`, {UPDATE}"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in PINNED.items() for name in names])
def test_no_default_has_changed_without_a_new_version(kind, name):
    trouble = change(name, PINNED[kind][name], facts(kind, name))
    assert trouble is None, trouble


def test_shipped_plugins_are_pinned():
    assert set(PINNED) == {*registry.KINDS, "thresholds"}
    assert all(len(names) > 3 for names in PINNED.values())


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"version": 1, "defaults": {"epochs": 11, "rate": None}}, "epochs.*Add 1 to its `version`"),
        ({"version": 1, "defaults": {"rate": None}}, "epochs.*Add 1"),
        ({"version": 1, "defaults": {"epochs": 10}}, "rate.*Add 1"),
        ({"version": 2, "defaults": {"epochs": 11, "rate": None}}, "new version.*write the defaults anew"),
    ],
)
def test_what_changes_results_is_noticed(now, words):
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(change("cam", {"version": 1, "defaults": {"epochs": 10, "rate": None}}, now))


def test_new_parameters_change_nothing_and_changed_protocols_void_results():
    then = {"version": None, "defaults": {"train": 0.6}}
    assert change("pooled", then, {"version": None, "defaults": {"train": 0.6, "more": 1}}) is None
    assert "void all stored results" in change("pooled", then, {"version": None, "defaults": {"train": 0.5}})


def job(kind, choice):
    parts = {"method": Choice(name="m"), "dataset": Choice(name="d"), "protocol": Choice(name="p")}
    return Job(version=1, category="c", **{**parts, kind[:-1]: choice})


def built(kind, plugin, **values):
    return parameters.build(registry.load(kind, plugin), plugin, values)


def other_values(kind, plugin, parameter):
    """Built plugins with other values of one parameter, of those that are tried and the words that it lists."""
    for value in [*VALUES, *parameter.type.split(" | ")]:
        try:
            one = built(kind, plugin, **{parameter.name: value})
        except UsageError:
            continue
        if parameters.values_of(one)[parameter.name] != parameter.default:
            yield one


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_parameter_moves_the_id_only_where_it_differs_from_its_default(kind, name):
    plain = job(kind, Choice.of(name, built(kind, name)))
    assert plain.id == job(kind, Choice(name=name)).id
    for parameter in parameters.table(registry.load(kind, name)):
        others = list(other_values(kind, name, parameter))
        assert job(kind, Choice.of(name, built(kind, name, **{parameter.name: parameter.default}))).id == plain.id
        assert others, f"{name}.{parameter.name}: nothing that is tried fits"
        assert all(job(kind, Choice.of(name, other)).id != plain.id for other in others)


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_new_parameter_moves_no_id_and_orphans_no_result(kind, name):
    older = built(kind, name)
    named = [(one.name, object, field(default=getattr(older, one.name))) for one in fields(older) if one.init]
    larger = make_dataclass("Larger", [*named, ("brand_new", int, field(default=3))])
    assert job(kind, Choice.of(name, larger())).id == job(kind, Choice.of(name, older)).id
    assert Choice.of(name, older).agrees(Choice.of(name, larger()))
    assert job(kind, Choice.of(name, larger(brand_new=4))).id != job(kind, Choice.of(name, older)).id


if __name__ == "__main__":
    kinds = {kind: registry.plugins(kind) for kind in registry.KINDS} | {"thresholds": RULES}
    content = {kind: {name: facts(kind, name) for name in sorted(names)} for kind, names in kinds.items()}
    FILE.write_text(json.dumps(content, indent=1) + "\n")
