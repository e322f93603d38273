"""How well each method judges each type of defect: the share of its test images that are judged right."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

from anomalybench.core.dataset import GOOD


@dataclass(frozen=True)
class DefectTable:
    """The images of one category under one protocol.

    Attributes:
        dataset: Dataset, as in the tables.
        protocol: Protocol, as in the tables.
        category: Category.
        methods: The methods, the one with the highest mean share over defect types first.
        shares: For each type a share per method, or None where it has no such images; the good images come last.
    """

    dataset: str
    protocol: str
    category: str
    methods: list[str]
    shares: dict[str, list[float | None]]


def tables(jobs: pd.DataFrame) -> list[DefectTable]:
    """One table for every category with two types of defect or more: means over folds and seeds.

    Args:
        jobs: The table of jobs.
    """
    found = [
        _table(str(dataset), str(protocol), str(category), group)
        for (dataset, protocol, category), group in jobs.groupby(["dataset", "protocol", "category"], sort=True)
    ]
    return [table for table in found if sum(name != GOOD for name in table.shares) > 1]


def _table(dataset: str, protocol: str, category: str, jobs: pd.DataFrame) -> DefectTable:
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for method, judged in zip(jobs["method"], jobs["accuracy_by_defect"], strict=True):
        for defect, share in _read(judged).items():
            seen[method][defect].append(share)
    mean = {m: {d: math.fsum(values) / len(values) for d, values in of.items()} for m, of in seen.items()}
    types = sorted({defect for of in mean.values() for defect in of}, key=lambda name: (name == GOOD, name))
    methods = sorted(mean, key=lambda method: (-_over_defects(mean[method]), method))
    return DefectTable(
        dataset, protocol, category, methods, {defect: [mean[m].get(defect) for m in methods] for defect in types}
    )


def _over_defects(shares: dict[str, float]) -> float:
    values = [share for defect, share in shares.items() if defect != GOOD]
    return math.fsum(values) / len(values) if values else 0.0


def _read(judged: object) -> dict[str, float]:
    found = json.loads(judged) if isinstance(judged, str) else judged
    return found if isinstance(found, dict) else {}
