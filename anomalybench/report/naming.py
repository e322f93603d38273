"""What tables call methods, datasets and protocols: the plain name, and what tells it from others of the same name."""

import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from anomalybench.core.job import Choice
from anomalybench.core.record import Result, rule_name
from anomalybench.datasets._files import folder_name


def newest(results: Iterable[Result]) -> list[Result]:
    """For results alike but for their method's version, the one of the highest."""
    newest: dict[str, Result] = {}
    for result in sorted(results, key=lambda one: one.record.job.version):
        same = result.record.job.model_copy(update={"version": 0}).id
        newest[f"{same} {result.record.fingerprint} {rule_of(result)}"] = result
    return list(newest.values())


def rule_of(result: Result) -> str:
    """Name of the threshold rule that was asked for."""
    return rule_name(None if result.measurement is None else result.measurement.choice)


def told_apart(results: Sequence[Result]) -> list[tuple[Result, str, str]]:
    """Each result with what is added to its dataset's name.

    Results on different images are not comparable, even where dataset and category have the same name. So the name of
    the data folder is added where a dataset was read from several, and the fingerprint where a result was not measured
    on the latest images of its category and folder.
    """
    folders = _folders(results)
    places: dict[str, set[str]] = {}
    for result, folder in zip(results, folders, strict=True):
        places.setdefault(_dataset(result), set()).update({folder} - {""})
    shown = [f" ({f})" if f and len(places[_dataset(r)]) > 1 else "" for r, f in zip(results, folders, strict=True)]
    keys = [(_dataset(r), r.record.job.category, place) for r, place in zip(results, shown, strict=True)]
    latest: dict[tuple[str, str, str], tuple[str, str]] = {}
    for result, key in zip(results, keys, strict=True):
        now = result.record.environment.get("date", ""), result.record.fingerprint
        if result.record.fingerprint:  # a job may fail before its images are known
            latest[key] = max(latest.get(key, now), now)
    found = []
    for result, key in zip(results, keys, strict=True):
        images = result.record.fingerprint
        old = images not in ("", latest.get(key, ("", ""))[1])
        found.append((result, key[2], f" (images {images[:8]})" if old else ""))
    return found


def remark_on_images(results: Sequence[Result]) -> str | None:
    """A sentence where results were measured on images that are not the latest of their name."""
    other = {other.strip() for _, _, other in told_apart(newest(results)) if other}
    if not other:
        return None
    sets = "1 other set" if len(other) == 1 else f"{len(other)} other sets"
    return (
        f"results on {sets} of images of the same name are rows of their own: {', '.join(sorted(other))}. Only rows of "
        "the same images can be compared."
    )


def _dataset(result: Result) -> str:
    return json.dumps(result.record.job.dataset.identity)


def _folders(results: Sequence[Result]) -> list[str]:
    """Name of each result's data folder; the same one for the same images, which may lie elsewhere on another machine.

    Nothing where the dataset's own name says it already, or nobody knows.
    """
    name = functools.cache(lambda root: folder_name(Path(root)))
    own = [result.record.job.dataset.params.get("name") for result in results]
    roots = [result.record.root for result in results]
    named = [name(root) if root and not said else "" for root, said in zip(roots, own, strict=True)]
    same: dict[tuple[str, str, str], str] = {}
    for result, folder in sorted(zip(results, named, strict=True), key=lambda pair: pair[1]):
        same.setdefault(_images(result), folder)
    return [same[_images(result)] for result in results]


def _images(result: Result) -> tuple[str, str, str]:
    return _dataset(result), result.record.job.category, result.record.fingerprint


def protocols(results: Sequence[Result]) -> Callable[[Result], str]:
    """Names of protocol and threshold rule in one: jobs that differ in either are not averaged."""
    label = labels([result.record.job.protocol for result in results])
    rules: dict[str, set[str]] = {}
    for result in results:
        rules.setdefault(result.record.job.protocol.name, set()).add(rule_of(result))

    def named(result: Result) -> str:
        protocol = result.record.job.protocol
        return label(protocol) + (f", threshold {rule_of(result)}" if len(rules[protocol.name]) > 1 else "")

    return named


def labels(choices: Sequence[Choice]) -> Callable[[Choice], str]:
    """Names for a table: the plain name, plus the parameters that tell choices of the same name apart.

    The user's own folder is called by its name. A parameter that an older choice does not know was at its default.
    """
    variants: dict[str, dict[str, Choice]] = {}
    for choice in choices:
        variants.setdefault(_called(choice), {})[json.dumps(choice.params, sort_keys=True)] = choice

    def telling(choice: Choice, key: str) -> bool:
        others = [other.params for other in variants[_called(choice)].values()]
        return any(other[key] != choice.params[key] if key in other else key in choice.chosen for other in others)

    @functools.cache
    def label(name: str, params: str) -> str:
        choice = variants[name][params]
        shown = [f"{key}={value}" for key, value in sorted(choice.params.items()) if telling(choice, key)]
        return f"{name}({', '.join(shown)})" if shown else name

    return lambda choice: label(_called(choice), json.dumps(choice.params, sort_keys=True))


def _called(choice: Choice) -> str:
    return str(choice.params.get("name") or choice.name)


def plain_name(label: str) -> str:
    """A name as the tables call it, without what tells it from others of the same name."""
    return re.split(r" ?\(|, threshold ", label)[0]
