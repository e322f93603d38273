"""The README's main command on real images, and the claims that README makes of it."""

import pandas as pd
import pytest

from anomalybench.bench.suite import FLOORS

CAM = {"mono": 0.95, "poly": 0.88}


@pytest.mark.slow
def test_the_readme_command_finds_defects_in_real_solar_cells(cli_process, tmp_path):
    result = cli_process("run", "--methods", "cam,fcdd", "--results", tmp_path)
    assert result.exit_code == 0, result.stderr
    summary = pd.read_csv(tmp_path / "leaderboards" / "quickstart.csv")
    assert set(summary["method"]) == {"cam", "fcdd", *FLOORS}
    assert set(summary["status"]) == {"ok"}
    assert set(summary["n_categories"]) == {2}
    jobs = pd.read_csv(tmp_path / "leaderboards" / "quickstart_by_category.csv").set_index(["method", "category"])
    for category, bar in CAM.items():
        assert jobs.loc[("cam", category), "auroc"] >= bar
        assert jobs.loc[("fcdd", category), "auroc"] >= 0.8
    spent = jobs["fit_s"] + jobs["predict_ms_per_image"] / 1000 * (jobs["n_calibration"] + jobs["n_test"])
    assert (jobs["total_s"] - spent).sum() <= 0.1 * jobs["total_s"].sum()


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "category"), [("cookies", "cookie"), ("mvtec_mini", "transistor")])
def test_mvtec_layout_runs_on_real_images(cli, tmp_path, data, folder, category):
    arguments = [
        "--methods",
        "cam,fcdd",
        "--dataset",
        "mvtec_ad",
        "--data",
        data / folder,
        "--categories",
        category,
        "--no-floors",
    ]
    light = ["--set", "cam.epochs=2", "--set", "fcdd.epochs=1", "--set", "fcdd.size=128", "--set", "cam.size=128"]
    result = cli("run", *arguments, *light, "--results", tmp_path)
    assert result.exit_code == 0, result.stderr
    jobs = pd.read_csv(tmp_path / "leaderboards" / f"{folder}_by_category.csv")
    assert list(jobs["status"]) == ["ok", "ok"]
    assert jobs["n_test"].nunique() == 1
    assert list(jobs["n_train_anomalous"] > 0) == [True, False]
