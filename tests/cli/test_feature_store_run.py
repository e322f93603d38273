"""`run --feature-store`: a cold store, a warm one and none give the same numbers, and costs count what was saved."""

import pandas as pd
import pytest

from anomalybench.bench.store import Store

CASES = {
    "deep_knn": ["deep_knn.size=32"],
    "padim": ["padim.size=32", "padim.channels=10"],
    "patchcore": ["patchcore.size=32"],
    "cam": ["cam.size=32", "cam.epochs=2"],
}
SMALL = ["synthetic.n_normal=10", "synthetic.n_anomalous=8"]
COSTS = ("fit_s", "predict_ms_per_image", "latency_p50_ms", "latency_p95_ms", "total_s", "peak_memory_mb")


@pytest.fixture
def run(cli, tmp_path, monkeypatch):
    """Runs a method on 18 procedural images; returns the results' folder."""
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))

    def call(method, folder, *more):
        values = [*SMALL, *CASES[method], f"{method}.backbone=random@timm:resnet18"]
        options = [word for value in values for word in ("--set", value)]
        result = cli("run", "--methods", method, "--no-floors", "--dataset", "synthetic", "--categories", "tablet",
                     *options, "--results", tmp_path / folder, *more)  # fmt: skip
        assert result.exit_code == 0, result.text
        return tmp_path / folder

    return call


def metrics(results):
    (file,) = (results / "leaderboards").rglob("*_by_category.csv")
    table = pd.read_csv(file)
    assert len(table) == 1
    assert 0 <= table["auroc"][0] <= 1
    return table.drop(columns=[name for name in COSTS if name in table])


@pytest.mark.parametrize("method", CASES)
def test_a_cold_store_a_warm_one_and_none_give_the_same_metrics(run, method):
    results = run(method, "stored", "--feature-store", "20")
    cold = metrics(results)
    kept = sorted((results / "work" / "features").glob("*/*"))
    made = [file.stat().st_ino for file in kept]
    warm = metrics(run(method, "stored", "--feature-store", "20", "--force"))
    bare = run(method, "bare", "--feature-store", "0")
    pd.testing.assert_frame_equal(cold, warm)
    pd.testing.assert_frame_equal(cold, metrics(bare))
    assert len(kept) >= 10
    assert [file.stat().st_ino for file in kept] == made  # nothing was computed and written again
    assert not (bare / "work" / "features").exists()


def test_costs_count_what_the_store_saved(run):
    results = run("deep_knn", "stored")
    (speed,) = (results / "work" / "features").rglob("seconds_per_image.json")
    speed.write_text("100")
    run("deep_knn", "stored", "--force")
    (record,) = Store(results).records()
    assert record.costs.fit_s == pytest.approx(100 * record.counts.train_normal, abs=30)
    assert record.costs.predict_ms_per_image == pytest.approx(100_000, abs=30_000)
    assert record.costs.total_s < 90
