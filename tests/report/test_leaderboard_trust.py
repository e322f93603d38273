"""Columns that say how far the numbers can be trusted: intervals, ties, floors, published numbers, notes."""

import math

import numpy as np
import pandas as pd
import pytest

from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Counts, Measurement, Record, Result
from anomalybench.report.leaderboard import build


def record(auroc, method="cam", *, category="a", status="ok", seed=0, **changes):
    names = {"method": method, "dataset": changes.pop("dataset", "toy"), "protocol": changes.pop("protocol", "pooled")}
    params = changes.pop("params", {})
    choices = {kind: Choice(name=name) for kind, name in names.items()}
    choices["method"] = Choice(name=method, params=params, chosen=tuple(sorted(params)))
    job = Job(version=1, category=category, seed=seed, **choices)
    if status != "ok":
        return Result(Record(job=job, status=status, error="because"))
    metrics = {"auroc": auroc, "balanced_accuracy": auroc - 0.05, "tp": 20, "fn": 10, "tn": 25, "fp": 5}
    measured = Measurement(
        version=1, rule="youden", threshold=0.5, metrics=metrics, intervals=changes.pop("intervals", {})
    )
    return Result(Record(job=job, status="ok", measurements=(measured,), **changes), measured)


def known(records, spread=0.03, without=()):
    """Resamples of each record around its metrics, of their own for every method, category and seed."""
    found = {}
    for one in records:
        if one.record.status == "ok" and one.record.job.method.name not in without:
            rng = np.random.default_rng(list(one.id.encode()))
            noise = rng.normal(0, spread, 2000)
            noise = (noise - noise.mean()) / noise.std(ddof=1) * spread
            found[one.id] = {name: one.metrics[name] + noise for name in ("auroc", "balanced_accuracy")}
    return lambda job, metric: found.get(job, {}).get(metric)


def rows(*records, **options):
    table = build(records, known(records, **options)).leaderboard
    return {row["method"]: row for row in table.to_dict("records")}


def test_intervals_of_means():
    """Two categories with a standard error of .03, each on the logit scale; distances to the limits in quadrature."""
    (row,) = rows(record(0.8), record(0.9, category="b")).values()
    reaches = []
    for sign in (-1, 1):
        away = []
        for value in (0.8, 0.9):
            logit = math.log(value / (1 - value)) + sign * 1.959964 * 0.03 / (value * (1 - value))
            away.append(1 / (1 + math.exp(-logit)) - value)
        reaches.append(sign * math.hypot(*away) / 2)
    assert [row["auroc_low"], row["auroc_high"]] == pytest.approx([0.85 + reach for reach in reaches], abs=1e-6)
    assert row["balanced_accuracy_low"] < row["balanced_accuracy"] == pytest.approx(0.8)
    assert row["balanced_accuracy"] < row["balanced_accuracy_high"]


def test_without_resamples_only_balanced_accuracy_has_an_interval():
    table = build([record(0.9), record(0.2, "fcdd"), record(0.5, "random")]).leaderboard.set_index("method")
    assert table[["auroc_low", "auroc_high"]].isna().all(axis=None)
    assert table["balanced_accuracy_low"].notna().all()  # from the counts of images
    assert table["above_floors"].isna().all()
    assert table["tied_with_best"].dropna().to_dict() == {"cam": True}


def test_ties_with_the_best():
    found = rows(
        record(0.90, "cam"), record(0.88, "fcdd"), record(0.5, "vae"), record(0.99, "failed", status="failed"),
        record(0.89, "old"), without=("old",),
    )  # fmt: skip
    assert {name: row["tied_with_best"] for name, row in found.items()} == {
        "cam": True, "fcdd": True, "vae": False, "failed": None, "old": None,
    }  # fmt: skip


def test_datasets_and_protocols_have_a_best_each():
    table = [record(0.9), record(0.5, dataset="other"), record(0.4, protocol="kfold"), record(0.2, "fcdd")]
    ties = build(table, known(table)).leaderboard
    assert ties.loc[ties["method"] == "cam", "tied_with_best"].tolist() == [True] * 3
    assert ties.loc[ties["method"] == "fcdd", "tied_with_best"].tolist() == [False]


def test_above_floors():
    found = rows(
        record(0.9, "cam"), record(0.72, "weak"), record(0.3, "worse"), record(0.99, "failed", status="failed"),
        record(0.95, "old"), record(0.5, "random"), record(0.7, "brightness"),
        record(0.6, "pixel_knn", params={"k": 1}), record(0.65, "pixel_knn", params={"k": 3}), without=("old",),
    )  # fmt: skip
    assert {name: row["above_floors"] for name, row in found.items()} == {
        "cam": True, "weak": False, "worse": False, "failed": None, "old": None,
        "random": None, "brightness": None, "pixel_knn(k=1)": None, "pixel_knn(k=3)": None,
    }  # fmt: skip


def test_floors_alone_and_methods_alone_are_not_above_one():
    for records in ([record(0.5, "random"), record(0.4, "brightness")], [record(0.9), record(0.1, "fcdd")]):
        assert [row["above_floors"] for row in rows(*records).values()] == [None, None]
    failed = rows(record(0.9), record(0.5, "random", status="failed"))
    assert failed["cam"]["above_floors"] is None


def test_a_floor_that_lacks_the_hard_category_is_no_floor_for_it():
    found = rows(record(0.99), record(0.6, category="hard"), record(0.85, "brightness"), spread=0.005)
    assert found["cam"]["auroc"] < found["brightness"]["auroc"]
    assert found["cam"]["above_floors"] is True


def test_what_failed_on_the_hard_category_is_not_ranked_first():
    records = [
        record(0.9), record(0.6, category="hard"), record(0.5, "random"), record(0.5, "random", category="hard"),
        record(0.99, "lucky"), record(0.99, "lucky", category="hard", status="failed"),
    ]  # fmt: skip
    table = build(records, known(records)).leaderboard
    assert table["method"].tolist() == ["cam", "random", "lucky"]
    assert table["not_ranked"].fillna("").tolist() == ["", "", "only 1 of 2 categories"]
    assert table["tied_with_best"].tolist() == [True, False, None]


def test_one_defective_test_image_ranks_nothing():
    found = rows(*(few(record(value, name)) for name, value in (("cam", 0.9), ("random", 1.0))))
    for row in found.values():
        assert row["not_ranked"] == "only 1 defective test image: says nothing"
        assert row["tied_with_best"] is row["above_floors"] is None


def few(result):
    measured = result.measurement.model_copy(update={"metrics": {**result.metrics, "tp": 1, "fn": 0}})
    return Result(result.record, measured)


def test_notes_are_counted_and_shown():
    records = [
        record(0.9, notes=("first", "second")),
        record(0.8, category="b"),
        record(0.7, category="c", notes=("x",)),
    ]
    tables = build(records)
    assert tables.leaderboard["n_notes"].tolist() == [2]
    notes = tables.by_category.set_index("category")["notes"]
    assert notes["a"] == "first; second"
    assert pd.isna(notes["b"])


def test_intervals_of_a_job_are_those_of_its_record():
    both = {"auroc": (0.8, 0.95), "aupro_30": (0.1, 0.2)}
    row = build([record(0.9, intervals=both)]).by_category.iloc[0]
    assert [row[f"{name}_{end}"] for name in both for end in ("low", "high")] == [0.8, 0.95, 0.1, 0.2]
    assert math.isnan(row["pixel_auroc_low"])


@pytest.mark.parametrize("turned", [False, True])
def test_published_numbers_whatever_the_order_and_however_a_seed_ended(turned):
    where = {"dataset": "mvtec_ad", "protocol": "standard", "counts": Counts(images=292), "category": "bottle"}
    failed = record(0.9, "fcdd", seed=1, status="failed", **where)
    records = [record(0.9, "fcdd", **where), failed, record(0.9, "cam", **where)]
    tables = build(records[::-1] if turned else records)
    shown = tables.by_category.set_index(["method", "seed"])["published"]
    assert "pixel_auroc 0.970" in shown["fcdd", 0]
    assert pd.isna(shown["cam", 0])
    assert tables.leaderboard["published"].isna().all()
