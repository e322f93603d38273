"""`run --feature-store`: a cold store, a warm one and none give the same numbers."""

import pandas as pd
import pytest

CASES = {
    "deep_knn": ["deep_knn.size=32"],
    "padim": ["padim.size=32", "padim.channels=10"],
    "patchcore": ["patchcore.size=32"],
    "cam": ["cam.size=32", "cam.epochs=2"],
}
SMALL = ["synthetic.n_normal=10", "synthetic.n_anomalous=8"]
COSTS = ("fit_s", "predict_ms_per_image", "total_s", "peak_memory_mb")


@pytest.mark.parametrize("method", CASES)
def test_a_cold_store_a_warm_one_and_none_give_the_same_metrics(cli, tmp_path, monkeypatch, method):
    monkeypatch.setenv("ANOMALYBENCH_CACHE", str(tmp_path / "cache"))
    values = [*SMALL, *CASES[method], f"{method}.backbone=random@timm:resnet18"]
    options = [word for value in values for word in ("--set", value)]
    options += ["--protocol", "pooled"] if method == "cam" else []

    def metrics(folder, *more):
        where = tmp_path / folder
        result = cli("run", "--methods", method, "--dataset", "synthetic", "--categories", "tablet", *options,
                     "--results", where, *more)  # fmt: skip
        assert result.exit_code == 0, result.text
        (file,) = (where / "leaderboards").rglob("*_by_category.csv")
        table = pd.read_csv(file)
        return table.drop(columns=[name for name in COSTS if name in table])

    cold = metrics("stored", "--feature-store", "20")
    kept = sorted((tmp_path / "stored" / "work" / "features").glob("*/*"))
    made = [file.stat().st_ino for file in kept]
    warm = metrics("stored", "--feature-store", "20", "--force")
    none = metrics("bare", "--feature-store", "0")
    assert {"auroc"} <= set(cold.columns) | set(cold.get("metric", []))
    pd.testing.assert_frame_equal(cold, warm)
    pd.testing.assert_frame_equal(cold, none)
    assert len(kept) >= 10
    assert [file.stat().st_ino for file in kept] == made  # nothing was computed and written again
    assert not (tmp_path / "bare" / "work" / "features").exists()
