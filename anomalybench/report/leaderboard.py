"""Leaderboards: pandas tables derived from results. Positive = anomalous in every column."""

import functools
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from anomalybench.bench.store import safe_name
from anomalybench.bench.suite import FLOORS
from anomalybench.core.files import write_text
from anomalybench.core.job import Choice
from anomalybench.core.record import Result, rule_name
from anomalybench.datasets._files import folder_name
from anomalybench.evaluate import catalogue
from anomalybench.evaluate.catalogue import RANKING
from anomalybench.report import comparison, published
from anomalybench.report.files import csv_text
from anomalybench.report.joint import Resamples

_COSTS = ["fit_s", "predict_ms_per_image", "params_m"]


def summary_columns() -> list[str]:
    """Columns of the leaderboard."""
    shown = catalogue.names(shown_in="summary")
    images = [name for name in shown if catalogue.METRICS[name].level == "image"]
    maps = [name for name in shown if name not in images]
    return [
        "method", "supervision", "dataset", "protocol", "status", "n_categories", *images, *_COSTS,
        *_limits(catalogue.names(shown_in="limits")), "tied_with_best", "above_floors", *maps, "published", "n_notes",
        "positive", "not_ranked",
    ]  # fmt: skip


def job_columns() -> list[str]:
    """Columns of the table of jobs."""
    return [
        "method", "supervision", "dataset", "category", "protocol", "seed", "fold", "status", "n_train_normal",
        "n_train_anomalous", "n_calibration", "n_test", "n_test_normal", "n_test_anomalous", "threshold",
        "threshold_rule", *catalogue.METRICS, *_limits(catalogue.names(has_interval=True)), "accuracy_by_defect",
        *_COSTS, "peak_memory_mb", "total_s", "published", "notes", "positive", "fingerprint", "job", "error",
    ]  # fmt: skip


def _limits(metrics: Sequence[str]) -> list[str]:
    return [f"{name}_{end}" for name in metrics for end in ("low", "high")]


class Tables(NamedTuple):
    """The two leaderboards.

    Attributes:
        leaderboard: One row per method and dataset: means over categories of means over folds and seeds.
        by_category: One row per job and threshold rule; `job` is the result's id.
    """

    leaderboard: pd.DataFrame
    by_category: pd.DataFrame


def build(results: Iterable[Result], resamples: Resamples = lambda job, metric: None) -> Tables:
    """Both tables from results, in an order that does not depend on theirs.

    Args:
        results: What jobs left.
        resamples: Where to find a result's metric in every resample of its test images; without, nothing is known of
            ties, and of means only balanced accuracy has an interval, from the counts of images.
    """
    newest = _newest(results)
    known = published.read()
    methods = _labels([r.record.job.method for r in newest])
    datasets = _labels([r.record.job.dataset for r in newest])
    protocols = _protocols(newest)
    added = {result.id: place + other for result, place, other in _told_apart(newest)}
    rows = [
        {**_row(result), "method": methods(result.record.job.method), "protocol": protocols(result),
         "dataset": datasets(result.record.job.dataset) + added[result.id],
         "published": published.of(known, [result.record])}
        for result in newest
    ]  # fmt: skip
    jobs = pd.DataFrame(rows, columns=job_columns())
    jobs = jobs.sort_values(["dataset", "category", "protocol", "method", "seed", "fold", "job"], ignore_index=True)
    whole = defaultdict(list)
    for result, row in zip(newest, rows, strict=True):
        whole[row["method"], row["dataset"], row["protocol"]].append(result.record)
    said = {key: published.of(known, group, mean=True) for key, group in whole.items()}
    return Tables(summary(jobs, functools.cache(resamples), said), jobs)


def write(tables: Tables, results: Path, name: str) -> list[Path]:
    """Write `leaderboards/NAME.csv` and `leaderboards/NAME_by_category.csv` under `results`; returns their paths.

    Raises:
        StoreError: The folder cannot be written.
    """
    folder, stem = results / "leaderboards", safe_name(name)
    files = [folder / f"{stem}.csv", folder / f"{stem}_by_category.csv"]
    for file, table in zip(files, tables, strict=True):
        write_text(file, csv_text(table))
    return files


def _told_apart(results: Sequence[Result]) -> list[tuple[Result, str, str]]:
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
    other = {other.strip() for _, _, other in _told_apart(_newest(results)) if other}
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


def _newest(results: Iterable[Result]) -> list[Result]:
    """For results alike but for their method's version, the one of the highest."""
    newest: dict[str, Result] = {}
    for result in sorted(results, key=lambda one: one.record.job.version):
        same = result.record.job.model_copy(update={"version": 0}).id
        newest[f"{same} {result.record.fingerprint} {rule_of(result)}"] = result
    return list(newest.values())


def rule_of(result: Result) -> str:
    """Name of the threshold rule that was asked for."""
    return rule_name(None if result.measurement is None else result.measurement.choice)


def _protocols(results: Sequence[Result]) -> Callable[[Result], str]:
    """Names of protocol and threshold rule in one: jobs that differ in either are not averaged."""
    label = _labels([result.record.job.protocol for result in results])
    rules: dict[str, set[str]] = {}
    for result in results:
        rules.setdefault(result.record.job.protocol.name, set()).add(rule_of(result))

    def named(result: Result) -> str:
        protocol = result.record.job.protocol
        return label(protocol) + (f", threshold {rule_of(result)}" if len(rules[protocol.name]) > 1 else "")

    return named


def _labels(choices: Sequence[Choice]) -> Callable[[Choice], str]:
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


def _row(result: Result) -> dict[str, Any]:
    record, measurement = result.record, result.measurement
    row = {
        "supervision": record.supervision,
        "category": record.job.category,
        "seed": record.job.seed,
        "fold": record.job.fold,
        "status": record.status,
        "notes": "; ".join(result.notes) or None,
        "positive": "anomalous",
        "fingerprint": record.fingerprint,
        "job": result.id,
        "error": record.error,
        **record.costs.model_dump(),
    }
    if measurement is None:
        return row
    used = record.counts.model_dump(exclude={"images"}) if any(dict(record.counts).values()) else {}
    counts = {f"n_{name}": value for name, value in used.items()}
    by_defect = measurement.accuracy_by_defect
    limits = {
        f"{name}_{end}": value
        for name, both in measurement.intervals.items()
        for end, value in zip(("low", "high"), both, strict=True)
    }
    return (
        row
        | counts
        | limits
        | dict(result.metrics)
        | {
            "threshold": measurement.threshold,
            "threshold_rule": measurement.rule,
            "accuracy_by_defect": json.dumps(by_defect) if by_defect else None,
        }
    )


def summary(
    jobs: pd.DataFrame, resamples: Resamples, said: Mapping[Any, str | None] = MappingProxyType({})
) -> pd.DataFrame:
    """One row per method and dataset, from the table of jobs or a part of it; what is not ranked comes last.

    Args:
        jobs: Rows of `Tables.by_category`.
        resamples: See `build`.
        said: What was published, by method, dataset and protocol.
    """
    rows = []
    for ground, shared in jobs.groupby(["dataset", "protocol"], sort=True):
        groups = {str(method): group for method, group in shared.groupby("method", sort=True)}
        good = {method: group[group["status"] == "ok"] for method, group in groups.items()}
        ties = comparison.tied_with_best(good, RANKING, resamples)
        why = comparison.unranked(good, RANKING, resamples)
        found = [
            {**_summary_row(group, good[method], resamples), "method": method, "dataset": ground[0],
             "protocol": ground[1], "published": said.get((method, *ground)), "tied_with_best": ties[method],
             "not_ranked": why.get(method)}
            for method, group in groups.items()
        ]  # fmt: skip
        floors = [good[method] for method in groups if is_floor(method)]
        above = {m: comparison.above(good[m], floors, RANKING, resamples) for m in groups if not is_floor(m)}
        rows += [{**row, "above_floors": above.get(row["method"])} for row in found]
    rows.sort(key=_order)
    return pd.DataFrame(rows, columns=summary_columns())


def _order(row: Mapping[str, Any]) -> tuple[str, str, bool, float, str]:
    """Ranked ones first, best first; what has no value last."""
    value = -math.inf if math.isnan(row[RANKING]) else row[RANKING]
    return row["dataset"], row["protocol"], row["not_ranked"] is not None, -value, row["method"]


def _summary_row(group: pd.DataFrame, good: pd.DataFrame, resamples: Resamples) -> dict[str, Any]:
    means = {name: mean_of_means(good, name) for name in [*catalogue.names(shown_in="summary"), *_COSTS]}
    limits: dict[str, float] = {}
    for metric in catalogue.names(shown_in="limits"):
        low, high = comparison.mean_interval(good, metric, resamples)
        limits |= {f"{metric}_low": low, f"{metric}_high": high}
    states = set(group["status"])
    return {
        "supervision": next(iter(good["supervision"]), None),
        "status": states.pop() if len(states) == 1 else "partial",
        "n_categories": good["category"].nunique(),
        "n_notes": int(good["notes"].notna().sum()),
        "positive": "anomalous",
        **means,
        **limits,
    }


def mean_of_means(jobs: pd.DataFrame, column: str) -> float:
    """Mean over categories of means over jobs, summed exactly: the last digit must not depend on other columns."""
    known = defaultdict(list)
    for category, value in zip(jobs["category"].tolist(), jobs[column].tolist(), strict=True):
        if not pd.isna(value):
            known[category].append(value)
    means = [math.fsum(values) / len(values) for values in known.values()]
    return math.fsum(means) / len(means) if means else math.nan


def is_floor(method: str) -> bool:
    """Whether a method, as the tables call it, is one of `FLOORS`."""
    return plain_name(method) in FLOORS


def plain_name(label: str) -> str:
    """A name as the tables call it, without what tells it from others of the same name."""
    return re.split(r" ?\(|, threshold ", label)[0]
