import pytest

from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Counts, Record, Result
from anomalybench.report import published
from anomalybench.report.leaderboard import build
from anomalybench.report.published import Published

KNOWN = [
    Published("cam", "toy", "pooled", "a", 30, "auroc", 0.9, "A. Author"),
    Published("cam", "toy", "pooled", "a", 30, "accuracy", 0.85, "B. Author"),
    Published("cam", "toy", "pooled", "b", 20, "auroc", 0.8, "A. Author"),
    Published("cam", "toy", "pooled", "mean", 50, "auroc", 0.857, "A. Author"),
]


def record(category="a", images=30, *, status="ok", seed=0, **names):
    names = {"method": "cam", "dataset": "toy", "protocol": "pooled"} | names
    job = Job(version=1, category=category, seed=seed, **{kind: Choice(name=name) for kind, name in names.items()})
    return Record(job=job, status=status, counts=Counts(images=images) if status == "ok" else Counts())


def test_all_numbers_of_the_same_job_are_shown_with_their_source():
    assert published.of(KNOWN, [record()]) == "auroc 0.900 (A. Author); accuracy 0.850 (B. Author)"
    assert published.of(KNOWN, [record("b", 20)]) == "auroc 0.800 (A. Author)"


@pytest.mark.parametrize(
    "other",
    [
        {"images": 29},
        {"category": "b"},
        {"category": "mean", "images": 50},
        {"method": "fcdd"},
        {"dataset": "toy2"},
        {"protocol": "kfold"},
        {"status": "failed"},
    ],
)
def test_numbers_of_another_or_a_reduced_job_are_not(other):
    found = published.of(KNOWN, [record(**other)])
    assert found is None or other == {"category": "mean", "images": 50}


@pytest.mark.parametrize("turned", [False, True])
def test_a_mean_is_shown_for_all_images_of_all_categories_whatever_the_seeds(turned):
    whole = [record("a", 30), record("a", 30, seed=1), record("a", seed=2, status="failed"), record("b", 20)]
    whole = whole[::-1] if turned else whole
    assert published.of(KNOWN, whole, mean=True) == "auroc 0.857 (A. Author)"
    assert published.of(KNOWN, [record("a", 30)], mean=True) is None
    assert published.of(KNOWN, [record("a", 30), record("b", status="failed")], mean=True) is None
    assert published.of(KNOWN, [record("a", 30), record("b", 19)], mean=True) is None


def test_the_shipped_numbers_are_well_formed():
    known = published.read()
    assert len(known) > 10
    keys = [(k.method, k.dataset, k.protocol, k.category, k.metric, k.source) for k in known]
    assert len(set(keys)) == len(keys)
    for row in known:
        assert 0 < row.value <= 1
        assert row.n_images > 0
        assert row.source
    cable = [row for row in known if (row.method, row.category, row.metric) == ("fcdd", "cable", "pixel_auroc")]
    assert [(row.value, row.n_images) for row in cable] == [(0.9, 374)]
    for row in [row for row in known if row.category == "mean"]:
        parts = {
            k.category: k.n_images
            for k in known
            if (k.method, k.dataset, k.protocol) == (row.method, row.dataset, row.protocol) and k.category != "mean"
        }
        assert row.n_images == sum(parts.values()) or not parts


def test_a_number_comes_from_the_method_and_the_source_that_it_names():
    known = published.read()
    assert not [
        row for row in known if "EfficientNet-B5" in row.source
    ]  # padim here and in all re-runs is WideResNet's
    assert not [row for row in known if "nelson1425" in row.source]  # its "paper" column is a copy
    patchcore = [row for row in known if (row.method, row.metric, row.value) == ("patchcore", "auroc", 0.992)]
    assert all("not the paper" in row.source for row in patchcore)


def test_tables_show_the_shipped_numbers_beside_ours():
    cable = record("cable", 374, method="fcdd", dataset="mvtec_ad", protocol="standard")
    cut = record("bottle", 30, method="fcdd", dataset="mvtec_ad", protocol="standard")
    jobs = build([Result(cable), Result(cut)]).by_category.set_index("category")["published"]
    assert "pixel_auroc 0.900 (" in jobs["cable"]
    assert jobs["bottle"] is None or jobs["bottle"] != jobs["bottle"]
