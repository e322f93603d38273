"""Leaderboards: pandas tables derived from results. Positive = anomalous in every column."""

import functools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from anomalybench.bench.store import safe_name
from anomalybench.bench.suite import FLOORS
from anomalybench.core.files import write_text
from anomalybench.core.record import Result
from anomalybench.evaluate import catalogue
from anomalybench.evaluate.catalogue import RANKING
from anomalybench.report import comparison, naming, published
from anomalybench.report.files import csv_text
from anomalybench.report.joint import Resamples

_COSTS = ["fit_s", "predict_ms_per_image", "latency_p50_ms", "latency_p95_ms", "params_m"]


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
    newest = naming.newest(results)
    known = published.read()
    methods = naming.labels([r.record.job.method for r in newest])
    datasets = naming.labels([r.record.job.dataset for r in newest])
    protocols = naming.protocols(newest)
    added = {result.id: place + other for result, place, other in naming.told_apart(newest)}
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
    return naming.plain_name(method) in FLOORS
