import json
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalybench.core.errors import StoreError
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Costs, Counts, Measurement, Record, Result
from anomalybench.report.leaderboard import build, job_columns, summary_columns, write

METRICS = ["auroc", "balanced_accuracy", "oracle_balanced_accuracy", "average_precision", "f1"]
WANTED = [
    "method", "supervision", "dataset", "protocol", "status", "n_categories", *METRICS, "fit_s", "predict_ms_per_image",
    "params_m",
]  # fmt: skip


def chosen(name, **params):
    """A choice none of whose parameters is at its default."""
    return Choice(name=name, params=params, chosen=tuple(sorted(params)))


def record(auroc=0.5, *, method="cam", params=None, status="ok", version=1, category="a", fold="", seed=0, **changes):
    job = Job(
        method=chosen(method, **params or {}),
        version=version,
        dataset=changes.pop("dataset", Choice(name="toy")),
        category=category,
        protocol=changes.pop("protocol", chosen("pooled", train=0.6)),
        fold=fold,
        seed=seed,
    )
    if status != "ok":
        return Result(Record(job=job, status=status, error="because", **changes))
    metrics = dict.fromkeys(METRICS, auroc) | {"tp": 3, **changes.pop("metrics", {})}
    costs = Costs(fit_s=auroc * 10, predict_ms_per_image=auroc * 100, params_m=4.0, total_s=9.0)
    own = {name: changes.pop(name) for name in list(changes) if name in Measurement.model_fields}
    measured = Measurement(**{"version": 1, "rule": "youden", "threshold": 0.5, "metrics": metrics, **own})
    done = Record(job=job, status="ok", supervision="labels", costs=costs, measurements=(measured,), **changes)
    return Result(done, measured)


def leaderboard(*records):
    return build(records).leaderboard.to_dict("records")


def test_numbers_are_means_over_categories_of_means_over_folds_and_seeds():
    (row,) = leaderboard(
        record(0.5, category="a", fold="0"),
        record(0.7, category="a", fold="1"),
        record(0.6, category="a", fold="0", seed=1),
        record(1.0, category="b", fold="0"),
    )
    for name in METRICS:
        assert row[name] == pytest.approx(0.8)
    assert (row["fit_s"], row["predict_ms_per_image"], row["params_m"]) == pytest.approx((8.0, 80.0, 4.0))
    assert (row["n_categories"], row["status"], row["supervision"]) == (2, "ok", "labels")
    assert (row["method"], row["dataset"], row["protocol"], row["positive"]) == ("cam", "toy", "pooled", "anomalous")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["ok", "ok"], "ok"),
        (["failed", "failed"], "failed"),
        (["skipped"], "skipped"),
        (["ok", "failed"], "partial"),
        (["ok", "skipped"], "partial"),
    ],
)
def test_status_and_numbers_of_jobs_that_did_not_end_well(statuses, expected):
    (row,) = leaderboard(*(record(0.9, status=s, category=str(i)) for i, s in enumerate(statuses)))
    assert row["status"] == expected
    assert row["n_categories"] == statuses.count("ok")
    if "ok" in statuses:
        assert row["auroc"] == pytest.approx(0.9)
    else:
        assert math.isnan(row["auroc"])
        assert math.isnan(row["fit_s"])


def test_a_failed_method_does_not_hide_or_harm_the_others():
    good, bad = leaderboard(record(status="failed", method="fcdd"), record(0.8))
    assert (good["method"], good["status"], good["auroc"]) == ("cam", "ok", pytest.approx(0.8))
    assert (bad["method"], bad["status"]) == ("fcdd", "failed")


def test_what_is_undefined_in_one_category_is_left_out_of_the_mean():
    (row,) = leaderboard(record(0.8), record(0.6, category="b", metrics={"f1": None}))
    assert (row["auroc"], row["f1"]) == pytest.approx((0.7, 0.8))
    (row,) = leaderboard(record(0.8, metrics={"f1": None}))
    assert row["auroc"] == pytest.approx(0.8)
    assert pd.isna(row["f1"])


def test_variants_are_told_apart_by_what_differs():
    rows = leaderboard(
        record(0.9, params={"epochs": 5, "head": "gap", "size": 64}),
        record(0.8, params={"epochs": 9, "head": "gap", "size": 64}),
        record(0.7, method="fcdd", params={"epochs": 7}),
    )
    assert [row["method"] for row in rows] == ["cam(epochs=5)", "cam(epochs=9)", "fcdd"]
    two = leaderboard(record(params={"a": 1, "b": "x"}), record(params={"a": 2, "b": "y"}))
    assert {row["method"] for row in two} == {"cam(a=1, b=x)", "cam(a=2, b=y)"}


def test_variants_of_datasets_and_protocols_are_told_apart():
    shares = [chosen("pooled", train=share, calibration=0.2) for share in (0.5, 0.6)]
    sizes = [chosen("toy", max_normal=size) for size in (None, 10)]
    rows = leaderboard(*(record(protocol=p, dataset=d) for p in shares for d in sizes))
    assert {row["protocol"] for row in rows} == {"pooled(train=0.5)", "pooled(train=0.6)"}
    assert {row["dataset"] for row in rows} == {"toy(max_normal=None)", "toy(max_normal=10)"}
    assert len(rows) == 4


def test_a_parameter_that_only_one_variant_has_tells_them_apart():
    rows = leaderboard(record(0.9, params={"epochs": 5}), record(0.5, params={"epochs": 5, "flips": True}, version=2))
    assert len({row["method"] for row in rows}) == 2
    assert [row["auroc"] for row in rows] == pytest.approx([0.9, 0.5])


MANY = [
    record(
        0.1 * i, method=method, params={"epochs": epochs, "size": size}, category=category, fold=fold, version=version
    )
    for i, (method, epochs, size, category, fold, version) in enumerate(
        [
            ("cam", 5, 64, "a", "0", 1),
            ("cam", 5, 64, "a", "0", 2),
            ("cam", 5, 64, "a", "1", 2),
            ("cam", 9, 32, "b", "0", 1),
            ("cam", 9, 64, "b", "0", 1),
            ("fcdd", 5, 64, "b", "0", 1),
            ("fcdd", 5, 64, "a", "1", 1),
        ]
    )
] + [record(status="failed", params={"epochs": 9, "size": 32})]


@pytest.fixture(scope="module")
def tables():
    return build(MANY)


@settings(max_examples=30, deadline=None)
@given(records=st.permutations(MANY))
def test_the_order_of_the_records_plays_no_part(tables, records):
    for got, expected in zip(build(records), tables, strict=True):
        pd.testing.assert_frame_equal(got, expected)


def test_the_order_of_the_records_plays_no_part_where_parameters_come_in_another_order():
    records = [record(params={"a": 1, "b": 1}), record(params={"b": 2, "a": 2})]
    pd.testing.assert_frame_equal(build(records).leaderboard, build(records[::-1]).leaderboard)


@pytest.mark.parametrize("turned", [False, True])
def test_the_newest_version_wins_even_if_it_is_worse(turned):
    records = [record(0.9, version=1), record(0.3, version=10), record(0.6, version=9)]
    tables = build(records[::-1] if turned else records)
    assert tables.leaderboard["auroc"].tolist() == [0.3]
    assert tables.by_category["job"].tolist() == [records[1].id]


def test_an_older_version_still_counts_where_there_is_no_newer():
    assert len(build([record(version=1, category="a"), record(version=2, category="b")]).by_category) == 2


def test_rows_are_sorted_best_first_within_dataset_and_protocol():
    other = Choice(name="another")
    rows = leaderboard(
        record(0.7, method="x"),
        record(0.9, method="y"),
        record(method="z", status="failed"),
        record(0.1, dataset=other),
    )
    assert [(row["dataset"], row["method"]) for row in rows] == [
        ("another", "cam"), ("toy", "y"), ("toy", "x"), ("toy", "z"),
    ]  # fmt: skip


def test_a_job_row_says_what_it_used_and_what_it_gave():
    counts = Counts(train_normal=10, train_anomalous=4, calibration=6, test=9)
    done = record(0.9, counts=counts, threshold=0.25, rule="youden", accuracy_by_defect={"good": 0.75})
    skipped = record(status="skipped", category="b")
    first, second = build([skipped, done]).by_category.to_dict("records")
    assert [first[f"n_{n}"] for n in ("train_normal", "train_anomalous", "calibration", "test")] == [10, 4, 6, 9]
    assert (first["threshold"], first["threshold_rule"], first["tp"], first["job"]) == (0.25, "youden", 3, done.id)
    assert json.loads(first["accuracy_by_defect"]) == {"good": 0.75}
    assert (second["status"], second["error"], second["category"]) == ("skipped", "because", "b")
    assert math.isnan(second["auroc"])
    assert math.isnan(second["n_test"])


def test_the_files_have_the_wanted_columns_and_read_back(tmp_path):
    tables = build(MANY)
    board, jobs = write(tables, tmp_path / "results", "toy")
    assert (board.name, jobs.name) == ("toy.csv", "toy_by_category.csv")
    header = board.read_text(encoding="utf-8").splitlines()[0]
    assert header == ",".join(summary_columns())
    assert [name for name in header.split(",") if name in WANTED] == WANTED
    assert jobs.read_text(encoding="utf-8").splitlines()[0] == ",".join(job_columns())
    read = pd.read_csv(board)
    assert read["method"].tolist() == tables.leaderboard["method"].tolist()
    assert read["auroc"].tolist() == pytest.approx(tables.leaderboard["auroc"].tolist(), nan_ok=True)


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path):
    write(build(MANY), tmp_path, "toy")
    write(build([record()]), tmp_path, "toy")
    assert len(pd.read_csv(tmp_path / "leaderboards" / "toy.csv")) == 1
    assert {file.name for file in (tmp_path / "leaderboards").iterdir()} == {"toy.csv", "toy_by_category.csv"}


def test_no_records_make_empty_tables_with_all_columns(tmp_path):
    tables = build([])
    assert [len(table) for table in tables] == [0, 0]
    assert [list(table.columns) for table in tables] == [summary_columns(), job_columns()]
    assert set(WANTED) <= set(pd.read_csv(write(tables, tmp_path, "none")[0]).columns)


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"cannot be written.*--results"):
        write(build([]), tmp_path / "file", "toy")
