"""Leaderboards: pandas tables derived from records. Positive = anomalous in every column."""

import functools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from anomalybench.core.job import Choice, Job, Record
from anomalybench.report import comparison, published
from anomalybench.report.files import write_text
from anomalybench.report.joint import Resamples

_MEANS = ["auroc", "balanced_accuracy", "oracle_balanced_accuracy", "average_precision", "f1"]
_PIXELS = ["pixel_auroc", "aupro_30", "aupro_05", "pixel_ap", "pointing_game", "box_iou"]
_MORE_PIXELS = [
    "pixel_f1_max", "relevance_mass", "box_precision_0.3", "box_precision_0.5", "box_recall_0.3", "box_recall_0.5",
    "n_without_mask", "insertion_auc", "deletion_auc",
]  # fmt: skip
_COSTS = ["fit_s", "predict_ms_per_image", "params_m"]
_SURE = ["auroc", "balanced_accuracy"]
"""Metrics whose intervals the summary holds; a job's row has those of all metrics that have one."""
_LIMITS = [f"{name}_{end}" for name in _SURE for end in ("low", "high")]
FLOORS = ("random", "brightness", "pixel_knn")
"""Methods that nothing worth its cost may fail to beat."""
SUMMARY_COLUMNS = [
    "method", "supervision", "dataset", "protocol", "status", "n_categories", *_MEANS, *_COSTS, *_LIMITS,
    "not_ranked", "tied_with_best", "above_floors", *_PIXELS, "published", "n_notes", "positive",
]  # fmt: skip
_METRICS = [
    "auroc", "average_precision", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "fpr",
    "fnr", "mcc", "tp", "fp", "tn", "fn", "oracle_balanced_accuracy", "oracle_threshold",
]  # fmt: skip
_JOB_SURE = [*_SURE, "average_precision", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05"]
_JOB_LIMITS = [f"{name}_{end}" for name in _JOB_SURE for end in ("low", "high")]
JOB_COLUMNS = [
    "method", "supervision", "dataset", "category", "protocol", "seed", "fold", "status", "n_train_normal",
    "n_train_anomalous", "n_calibration", "n_test", "threshold", "threshold_rule", *_METRICS, *_PIXELS, *_MORE_PIXELS,
    *_JOB_LIMITS, "accuracy_by_defect", *_COSTS, "peak_memory_mb", "total_s", "published", "notes", "positive", "job",
    "fingerprint", "error",
]  # fmt: skip


class Tables(NamedTuple):
    """The two leaderboards.

    Attributes:
        leaderboard: One row per method and dataset: means over categories of means over folds and seeds.
        by_category: One row per job.
    """

    leaderboard: pd.DataFrame
    by_category: pd.DataFrame


def build(records: Iterable[Record], resamples: Resamples = lambda job, metric: None) -> Tables:
    """Both tables from records, in an order that does not depend on theirs.

    Args:
        records: What jobs left.
        resamples: Where to find a job's metric in every resample of its test images; without, nothing is known of
            ties, and of means only balanced accuracy has an interval, from the counts of images.
    """
    newest = _newest(records)
    known = published.read()
    methods = _labels([r.job.method for r in newest])
    datasets = _labels([r.job.dataset for r in newest])
    splits = [_split(r.job) for r in newest]
    protocols = _labels(splits)
    rows = [
        {**_row(record), "method": methods(record.job.method), "dataset": datasets(record.job.dataset),
         "protocol": protocols(split), "published": published.of(known, [record])}
        for record, split in zip(newest, splits, strict=True)
    ]  # fmt: skip
    jobs = pd.DataFrame(rows, columns=JOB_COLUMNS)
    jobs = jobs.sort_values(["dataset", "category", "protocol", "method", "seed", "fold", "job"], ignore_index=True)
    whole = defaultdict(list)
    for record, row in zip(newest, rows, strict=True):
        whole[row["method"], row["dataset"], row["protocol"]].append(record)
    said = {key: published.of(known, group, mean=True) for key, group in whole.items()}
    return Tables(summary(jobs, functools.cache(resamples), said), jobs)


def write(tables: Tables, results: Path, name: str) -> list[Path]:
    """Write `leaderboards/NAME.csv` and `leaderboards/NAME_by_category.csv` under `results`; returns their paths.

    Raises:
        StoreError: The folder cannot be written.
    """
    folder = results / "leaderboards"
    files = [folder / f"{name}.csv", folder / f"{name}_by_category.csv"]
    for file, table in zip(files, tables, strict=True):
        write_text(file, table.to_csv(index=False))
    return files


def _newest(records: Iterable[Record]) -> list[Record]:
    """For jobs alike but for their method's version, the record of the highest; likewise for `explain`."""
    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: (record.job.version, record.job.explain)):
        newest[record.job.model_copy(update={"version": 0, "explain": 0}).id] = record
    return list(newest.values())


def _split(job: Job) -> Choice:
    """Protocol and threshold rule as one choice: jobs that differ in either are not averaged."""
    rule = job.threshold
    said = "default" if rule is None else ", ".join([rule.name, *(f"{k} {v}" for k, v in sorted(rule.params.items()))])
    return job.protocol.model_copy(update={"params": {**job.protocol.params, "threshold": said}})


def _labels(choices: Sequence[Choice]) -> Callable[[Choice], str]:
    """Names for a table: the plain name, plus the parameters that tell choices of the same name apart."""
    variants: dict[str, dict[str, dict[str, Any]]] = {}
    for choice in choices:
        variants.setdefault(choice.name, {})[json.dumps(choice.params, sort_keys=True)] = choice.params

    @functools.cache
    def label(name: str, params: str) -> str:
        chosen, others = variants[name][params], variants[name].values()
        telling = [k for k, v in sorted(chosen.items()) if any(k not in p or p[k] != v for p in others)]
        return f"{name}({', '.join(f'{k}={chosen[k]}' for k in telling)})" if telling else name

    return lambda choice: label(choice.name, json.dumps(choice.params, sort_keys=True))


def _row(record: Record) -> dict[str, Any]:
    counts = (
        {f"n_{name}": value for name, value in record.counts.model_dump().items() if name != "images"}
        if record.metrics
        else {}
    )
    return {
        "supervision": record.supervision,
        "category": record.job.category,
        "seed": record.job.seed,
        "fold": record.job.fold,
        "status": record.status,
        "threshold": record.threshold,
        "threshold_rule": record.threshold_rule,
        "accuracy_by_defect": json.dumps(record.accuracy_by_defect) if record.accuracy_by_defect else None,
        "notes": "; ".join(record.notes) or None,
        "positive": "anomalous",
        "job": record.job.id,
        "fingerprint": record.fingerprint,
        "error": record.error,
        **counts,
        **record.metrics,
        **{name: record.pixel_metrics.get(name) for name in [*_PIXELS, *_MORE_PIXELS]},
        **_limits(record),
        **record.costs.model_dump(),
    }


def _limits(record: Record) -> dict[str, float]:
    return {
        f"{name}_{end}": value
        for name, both in record.intervals.items()
        for end, value in zip(("low", "high"), both, strict=True)
    }


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
        ties = comparison.tied_with_best(good, "auroc", resamples)
        why = comparison.unranked(good, "auroc", resamples)
        found = [
            {**_summary_row(group, good[method], resamples), "method": method, "dataset": ground[0],
             "protocol": ground[1], "published": said.get((method, *ground)), "tied_with_best": ties[method],
             "not_ranked": why.get(method)}
            for method, group in groups.items()
        ]  # fmt: skip
        floors = [good[method] for method in groups if is_floor(method)]
        above = {m: comparison.above(good[m], floors, "auroc", resamples) for m in groups if not is_floor(m)}
        rows += [{**row, "above_floors": above.get(row["method"])} for row in found]
    rows.sort(key=_order)
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def _order(row: Mapping[str, Any]) -> tuple[str, str, bool, float, str]:
    """Ranked ones first, best first; what has no ROC AUC last."""
    value = -math.inf if math.isnan(row["auroc"]) else row["auroc"]
    return row["dataset"], row["protocol"], row["not_ranked"] is not None, -value, row["method"]


def _summary_row(group: pd.DataFrame, good: pd.DataFrame, resamples: Resamples) -> dict[str, Any]:
    means = {name: mean_of_means(good, name) for name in [*_MEANS, *_COSTS, *_PIXELS]}
    limits: dict[str, float] = {}
    for metric in _SURE:
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
    return method.partition("(")[0] in FLOORS
