import shutil
from dataclasses import replace
from pathlib import Path

import made_records as made
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomalybench.bench.store import Store
from anomalybench.core.errors import DataError
from anomalybench.evaluate import heat, map_codes
from anomalybench.report import figures

PAINTED = ["confusion", "histogram", "roc"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One real, small job on images with masks, some of them called wrongly."""
    import anomalybench

    results = tmp_path_factory.mktemp("figures")
    params = {"cam.size": 64, "cam.epochs": 2, "synthetic.n_normal": 20, "synthetic.n_anomalous": 20}
    where = {"dataset": "synthetic", "categories": ["tablet"], "results": results}
    anomalybench.run(methods=["cam"], params=params, floors=False, **where)
    store = Store(results)
    (result,) = made.results(store)
    return store, result


def test_every_figure_is_drawn_without_the_model(finished):
    store, result = finished
    files = figures.draw(result, store)
    names = {file.stem for file in files}
    assert set(PAINTED) <= names
    assert names & set(figures.GALLERIES)
    for file in files:
        assert file.is_relative_to(store.results / "figures")
        pixels = np.asarray(Image.open(file).convert("RGB"))
        assert pixels.std() > 5, f"{file.name} is blank"


def test_galleries_show_the_most_telling_first(finished):
    store, result = finished
    job = figures._Job(result, store.scores(result.record), None)
    shown = {kind: figures._most_telling(job, kind) for kind in figures.GALLERIES}
    counted = [result.metrics[cell] for cell in ("tp", "tn", "fp", "fn")]
    assert [len(rows) for rows in shown.values()] == counted
    for rows in shown.values():
        assert rows["far"].is_monotonic_decreasing


def test_overlay_is_an_equal_blend_in_one_range():
    image = np.full((2, 2, 3), 100, np.uint8)
    low, high = (heat.overlay(image, np.full((2, 2), v, np.float16), (0.0, 1.0)) for v in (-3.0, 7.0))
    assert np.array_equal(low, np.tile(low[0, 0], (2, 2, 1)))
    assert np.abs(low[0, 0].astype(int) - 50).max() <= 3
    assert high.mean() > low.mean()
    assert np.array_equal(high, heat.overlay(image, np.ones((2, 2), np.float16), (0.0, 1.0)))


def test_images_that_are_gone_are_named(finished, tmp_path):
    store, result = finished
    with pytest.raises(DataError, match="no longer there"):
        figures.draw(changed(result, root=str(tmp_path)), store)


def changed(result, **changes):
    return replace(result, record=result.record.model_copy(update=changes))


def test_an_odd_job_costs_only_itself(finished, tmp_path):
    store = Store(tmp_path / "results")
    shutil.copytree(finished[0].runs, store.runs)
    result = finished[1]
    record = result.record
    odd = changed(result, job=record.job.model_copy(update={"seed": 1}))
    folder = made.folder(store, odd.record)
    for codes in (np.zeros((1, 2, 2), np.uint16), np.zeros((500, 2)), np.array([None] * 3, object), None):
        shutil.copytree(made.folder(store, record), folder, dirs_exist_ok=True)
        if codes is None:
            (folder / "maps.npz").write_bytes(b"PK")
        else:
            np.savez_compressed(folder / "maps.npz", codes=codes, values=np.zeros(1, np.float32))
        drawn = figures.draw_all([odd, result], store)
        assert [name for name in drawn.lost if "seed 1" in name] == list(drawn.lost) != []
        assert len(drawn.files) == len(figures.draw(result, store))


def test_images_of_another_machine_are_not_opened(finished):
    store, result = finished
    elsewhere = changed(result, environment={"platform": "Linux-1.0"})
    with pytest.raises(DataError, match="--data DIR"):
        figures.draw(elsewhere, store)
    assert figures.draw(elsewhere, store, data=Path(result.record.root))


def test_the_axis_of_a_histogram_counts_whole_images(finished, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    store, result = finished
    few = store.scores(result.record).groupby(["split", "label"]).head(1)
    monkeypatch.setattr(store, "scores", lambda record: few)
    monkeypatch.setattr(store, "maps", lambda record: None)
    figures.draw(result, store)
    (axis,) = [figure.axes[0] for figure in drawn if figure.axes[0].get_ylabel().endswith("images")]
    assert all(tick == round(tick) for tick in axis.get_yticks())


def test_a_constant_map_is_drawn(finished, monkeypatch):
    store, result = finished
    flat = map_codes.encode(np.zeros((result.record.n_scores, *result.record.map_size), np.float32))
    monkeypatch.setattr(store, "maps", lambda record: flat)
    assert figures.draw(result, store)


def test_the_command_draws_what_is_asked_for(finished, cli):
    store, result = finished
    shown = cli("figures", result.id[:6], "--results", store.results)
    assert shown.exit_code == 0, shown.text
    assert "figures of 1 result" in shown.text
    cli("figures", "nothing-like-it", "--results", store.results).assert_refused("nothing-like-it")
    cli("figures", "smoke", "--results", store.results).assert_refused("no finished job")


def test_pixel_columns_are_in_both_tables(finished):
    store, _ = finished
    for name in ("synthetic", "synthetic_by_category"):
        table = pd.read_csv(store.results / "leaderboards" / f"{name}.csv")
        for column in ("pixel_auroc", "aupro_30", "aupro_05", "pixel_ap", "pointing_game", "box_iou"):
            assert table[column].between(0, 1).all(), column
