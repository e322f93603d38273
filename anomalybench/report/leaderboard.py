"""Leaderboards: pandas tables derived from records. Positive = anomalous in every column."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice, Record

_MEANS = ["auroc", "balanced_accuracy", "oracle_balanced_accuracy", "average_precision", "f1"]
_PIXELS = ["pixel_auroc", "aupro_30", "aupro_05", "pixel_ap", "pointing_game", "box_iou"]
_MORE_PIXELS = [
    "pixel_f1_max", "relevance_mass", "box_precision_0.3", "box_precision_0.5", "box_recall_0.3", "box_recall_0.5",
    "n_without_mask", "insertion_auc", "deletion_auc",
]  # fmt: skip
_COSTS = ["fit_s", "predict_ms_per_image", "params_m"]
SUMMARY_COLUMNS = [
    "method", "supervision", "dataset", "protocol", "status", "n_categories", *_MEANS, *_COSTS, *_PIXELS, "positive",
]  # fmt: skip
_METRICS = [
    "auroc", "average_precision", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "fpr",
    "fnr", "mcc", "tp", "fp", "tn", "fn", "oracle_balanced_accuracy", "oracle_threshold",
]  # fmt: skip
JOB_COLUMNS = [
    "method", "supervision", "dataset", "category", "protocol", "seed", "fold", "status", "n_train_normal",
    "n_train_anomalous", "n_calibration", "n_test", "threshold", "threshold_rule", *_METRICS, *_PIXELS, *_MORE_PIXELS,
    "accuracy_by_defect", *_COSTS, "peak_memory_mb", "total_s", "positive", "job", "error",
]  # fmt: skip


class Tables(NamedTuple):
    """The two leaderboards.

    Attributes:
        leaderboard: One row per method and dataset: means over categories of means over folds and seeds.
        by_category: One row per job.
    """

    leaderboard: pd.DataFrame
    by_category: pd.DataFrame


def build(records: Iterable[Record]) -> Tables:
    """Both tables from records, in an order that does not depend on theirs."""
    newest = _newest(records)
    methods = _labels([r.job.method for r in newest])
    datasets = _labels([r.job.dataset for r in newest])
    protocols = _labels([r.job.protocol for r in newest])
    rows = [
        {**_row(record), "method": methods(record.job.method), "dataset": datasets(record.job.dataset),
         "protocol": protocols(record.job.protocol)}
        for record in newest
    ]  # fmt: skip
    jobs = pd.DataFrame(rows, columns=JOB_COLUMNS)
    jobs = jobs.sort_values(["dataset", "category", "protocol", "method", "seed", "fold", "job"], ignore_index=True)
    return Tables(_summary(jobs), jobs)


def write(tables: Tables, results: Path, name: str) -> list[Path]:
    """Write `leaderboards/NAME.csv` and `leaderboards/NAME_by_category.csv` under `results`; returns their paths.

    Raises:
        StoreError: The folder cannot be written.
    """
    folder = results / "leaderboards"
    files = [folder / f"{name}.csv", folder / f"{name}_by_category.csv"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, table in zip(files, tables, strict=True):
            handle, aside = tempfile.mkstemp(dir=folder, prefix=f".{file.name}.")
            os.close(handle)
            table.to_csv(aside, index=False)
            Path(aside).chmod(0o644)
            Path(aside).replace(file)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}). Name another: --results DIR.") from None
    return files


def _newest(records: Iterable[Record]) -> list[Record]:
    """For jobs alike but for their method's version, the record of the highest version."""
    newest: dict[str, Record] = {}
    for record in records:
        key = record.job.model_copy(update={"version": 0}).id
        if key not in newest or record.job.version > newest[key].job.version:
            newest[key] = record
    return list(newest.values())


def _labels(choices: Sequence[Choice]) -> Callable[[Choice], str]:
    """Names for a table: the plain name, plus the parameters that tell choices of the same name apart."""
    variants: dict[str, dict[str, dict[str, Any]]] = {}
    for choice in choices:
        variants.setdefault(choice.name, {})[json.dumps(choice.params, sort_keys=True)] = choice.params

    def label(choice: Choice) -> str:
        others = variants[choice.name].values()
        telling = [k for k, v in sorted(choice.params.items()) if any(k not in p or p[k] != v for p in others)]
        return f"{choice.name}({', '.join(f'{k}={choice.params[k]}' for k in telling)})" if telling else choice.name

    return label


def _row(record: Record) -> dict[str, Any]:
    counts = {f"n_{name}": value for name, value in record.counts.model_dump().items()} if record.metrics else {}
    return {
        "supervision": record.supervision,
        "category": record.job.category,
        "seed": record.job.seed,
        "fold": record.job.fold,
        "status": record.status,
        "threshold": record.threshold,
        "threshold_rule": record.threshold_rule,
        "accuracy_by_defect": json.dumps(record.accuracy_by_defect) if record.accuracy_by_defect else None,
        "positive": "anomalous",
        "job": record.job.id,
        "error": record.error,
        **counts,
        **record.metrics,
        **{name: record.pixel_metrics.get(name) for name in [*_PIXELS, *_MORE_PIXELS]},
        **record.costs.model_dump(),
    }


def _summary(jobs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (method, dataset, protocol), group in jobs.groupby(["method", "dataset", "protocol"], sort=True):
        good = group[group["status"] == "ok"]
        numbers = good[["category", *_MEANS, *_COSTS, *_PIXELS]].infer_objects()
        means = numbers.groupby("category").mean(numeric_only=True).mean()
        states = set(group["status"])
        rows.append(
            {
                "method": method,
                "supervision": next(iter(good["supervision"]), None),
                "dataset": dataset,
                "protocol": protocol,
                "status": states.pop() if len(states) == 1 else "partial",
                "n_categories": good["category"].nunique(),
                "positive": "anomalous",
                **means.to_dict(),
            }
        )
    table = pd.DataFrame(rows, columns=SUMMARY_COLUMNS)
    return table.sort_values(
        ["dataset", "protocol", "auroc", "method"], ascending=[True, True, False, True], ignore_index=True
    )
