"""`score`: the numbers of another tool's scores are those that a method with the same scores gets."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomalybench.bench import external
from anomalybench.bench.store import Store
from anomalybench.core.job import Choice
from anomalybench.evaluate.map_codes import decode

GREY = """
'''The mean grey value: the same for an image whatever else there is.'''
from dataclasses import dataclass
import numpy as np
from PIL import Image
from anomalybench import Method, Prediction

@dataclass
class Grey(Method):
    learns_from = "nothing"

    def fit(self, train, context):
        pass

    def predict(self, images):
        small = [np.asarray(Image.fromarray(i).convert("L").resize((24, 16)), float) / 7 for i in images]
        return Prediction(np.array([s.mean() for s in small]) / 3, np.stack(small))
"""
ON = ["--dataset", "mvtec_ad", "--protocol", "kfold", "--set", "kfold.k=2", "--seeds", "0,1"]
SAME = {"job", "environment", "costs", "files"}
OTHER = [
    "method",
    "job",
    "fit_s",
    "predict_ms_per_image",
    "latency_p50_ms",
    "latency_p95_ms",
    "params_m",
    "peak_memory_mb",
    "total_s",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Noise in MVTec's layout: two categories of 12 normal images and 10 with a brighter corner, which has a mask."""
    home, rng = tmp_path_factory.mktemp("score"), np.random.default_rng(0)
    for category in ("bolt", "nut"):
        for i in range(22):
            part, picture = ("train" if i < 6 else "test"), rng.integers(0, 200, (20, 30))
            mask = np.zeros((20, 30), np.uint8)
            if i >= 12:
                mask[:9, :12] = 255
                save(home / f"photos/{category}/ground_truth/scratch/{i}_mask.png", mask)
            picture = np.minimum(picture + mask // 9, 255).astype(np.uint8)
            save(home / f"photos/{category}/{part}/{'scratch' if i >= 12 else 'good'}/{i}.png", picture)
    return home


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def photos(shared, monkeypatch):
    """Folder of the images, for all commands."""
    monkeypatch.setenv("ANOMALYBENCH_DATA", str(shared / "photos"))
    return shared / "photos"


@pytest.fixture
def ran(make_plugin, cli, shared, photos, tmp_path):
    """A store of the test's own with finished jobs of the method `grey`; they are run once."""
    make_plugin(methods={"grey": GREY})
    if not (shared / "runs").exists():
        assert cli("run", "--methods", "grey", "--no-floors", *ON, "--results", shared).exit_code == 0
    shutil.copytree(shared / "runs", tmp_path / "runs")
    return Store(tmp_path)


def written(store, file, folder=None):
    """All scores of a store as another tool would write them: with paths in full if there is a folder."""
    table = pd.concat(store.scores(record) for record in store.records())
    table = table.drop_duplicates("path").sample(frac=1, random_state=0)[["score", "path"]]
    if folder:
        table["path"] = [str(folder / path) for path in table["path"]]
    write = table.to_parquet if file.suffix == ".parquet" else table.to_csv
    write(file, index=False)
    return file


def export(store, folder, ending):
    """All maps of a store as another tool would write them."""
    for record in store.records():
        for path, values in zip(store.scores(record)["path"], decode(store.maps(record)), strict=True):
            file = (folder / path).with_suffix(ending)
            file.parent.mkdir(parents=True, exist_ok=True)
            if ending == ".npy":
                np.save(file, values.astype(np.float64))
            else:
                Image.fromarray(values.astype(np.float32)).save(file)
    return folder


def pairs(store):
    """(the method's record, the tool's record) of each job."""
    by = {}
    for record in store.records():
        where = record.job.category, record.job.seed, record.job.fold
        by.setdefault(where, {})[record.job.method.name] = record
    assert len(by) == 8
    return [(names["grey"], names["external:tool"]) for names in by.values()]


def auroc(record):
    return record.measurements[0].metrics["auroc"]


def equal_tables(folder, name):
    """The rows of the method and of the tool in a leaderboard, without what may differ."""
    for file in (f"{name}.csv", f"{name}_by_category.csv"):
        table = pd.read_csv(folder / "leaderboards" / file)
        own, other = (
            table[table["method"] == method].drop(columns=OTHER, errors="ignore").reset_index(drop=True)
            for method in ("grey", "external:tool")
        )
        assert len(own) > 0
        # What the plugin declares need not be repeated to `score`; ties and floors belong to the first by name.
        pd.testing.assert_frame_equal(own, other, check_exact=True, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "absolute", "maps"), [("s.csv", False, ".npy"), ("s.parquet", True, ".tiff"), ("s.csv", True, ".tif")]
)
def test_the_same_scores_and_maps_get_the_same_numbers(cli, ran, photos, tmp_path, name, absolute, maps):
    file = written(ran, tmp_path / name, photos if absolute else None)
    folder = export(ran, tmp_path / "maps", maps)
    options = ["--name", "tool", "--maps", folder, "--learns-from", "nothing", "--results", tmp_path]
    result = cli("score", file, *ON, *options)
    assert result.exit_code == 0, result.text
    for own, other in pairs(ran):
        assert other.model_dump(exclude=SAME) == own.model_dump(exclude=SAME)
        assert {"auroc", "pixel_auroc", "aupro_30"} <= own.measurements[0].intervals.keys()
        drawn = ran.resamples(own), ran.resamples(other)
        assert all(np.array_equal(drawn[0][key], drawn[1][key], equal_nan=True) for key in drawn[0] | drawn[1])
        pd.testing.assert_frame_equal(ran.scores(own), ran.scores(other), check_exact=True)
        assert np.array_equal(decode(ran.maps(own)), decode(ran.maps(other)))
        assert other.environment["device"] == "external"
        assert "score" in other.environment["command"]


def test_every_leaderboard_holds_the_tool_with_equal_numbers(cli, ran, photos, tmp_path):
    name = f"{photos.parent.name}-photos"
    file = written(ran, tmp_path / "scores.csv")
    folder = export(ran, tmp_path / "maps", ".npy")
    result = cli("score", file, *ON, "--name", "tool", "--maps", folder, "--learns-from", "nothing",
                 "--results", tmp_path)  # fmt: skip
    assert "external:tool" in result.stdout
    equal_tables(tmp_path, name)
    (tmp_path / "leaderboards" / f"{name}.csv").unlink()
    again = cli("run", "--methods", "grey", "--no-floors", *ON, "--results", tmp_path)
    assert again.text.count("done before") == 8
    assert "external:tool" in again.stdout
    equal_tables(tmp_path, name)
    assert cli("leaderboard", "--results", tmp_path).exit_code == 0
    equal_tables(tmp_path, "all")


def test_a_suite_s_leaderboard_holds_the_tool(cli, ran, tmp_path):
    text = "methods: [grey]\nprotocol: {kfold: {k: 2}}\nseeds: [0, 1]\n" + (
        "datasets: [mvtec_ad: {categories: [bolt, nut]}]\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    file, folder = written(ran, tmp_path / "scores.csv"), export(ran, tmp_path / "maps", ".npy")
    suite = ["--suite", tmp_path / "mine.yaml", "--learns-from", "nothing"]
    result = cli("score", file, *suite, "--name", "tool", "--maps", folder, "--results", tmp_path)
    assert result.exit_code == 0, result.text
    equal_tables(tmp_path, "mine")
    (tmp_path / "leaderboards" / "mine.csv").unlink()
    assert cli("leaderboard", tmp_path / "mine.yaml", "--results", tmp_path).exit_code == 0
    equal_tables(tmp_path, "mine")


def test_a_leaderboard_of_other_splits_or_thresholds_leaves_the_tool_out(cli, ran, tmp_path):
    file = written(ran, tmp_path / "scores.csv")
    assert cli("score", file, *ON, "--name", "tool", "--results", tmp_path).exit_code == 0
    for change in (["--set", "kfold.calibration=0.4"], ["--seeds", "3"], ["--threshold", "fpr"]):
        named = ["--name", f"with {change[1]}"]  # under the same name the tool's rows would be kept, apart
        result = cli("run", "--methods", "grey", "--no-floors", *ON, *change, *named, "--results", tmp_path)
        assert result.exit_code == 0
        assert "external:tool" not in result.stdout, change


def test_scores_of_some_categories_may_be_measured_alone(cli, ran, tmp_path):
    file = written(ran, tmp_path / "scores.csv")
    assert cli("score", file, *ON, "--categories", "nut", "--name", "a b", "--results", tmp_path).exit_code == 0
    found = [record.job.category for record in ran.records() if record.job.method.name == "external:a b"]
    assert found == ["nut"] * 4


def test_scores_again_replace_those_before(cli, ran, tmp_path):
    file = written(ran, tmp_path / "scores.csv")
    command = ["score", file, *ON, "--name", "tool", "--results", tmp_path]
    assert cli(*command).exit_code == 0
    turned = pd.read_csv(file)
    turned["score"] *= -1
    turned.to_csv(file, index=False)
    assert cli(*command).exit_code == 0
    for own, other in pairs(ran):
        assert auroc(other) == pytest.approx(1 - auroc(own))
        assert other.supervision is None


def test_maps_of_several_sizes_are_measured_and_noted(cli, ran, tmp_path):
    file, folder = written(ran, tmp_path / "scores.csv"), export(ran, tmp_path / "maps", ".npy")
    odd = sorted(folder.rglob("*.npy"))[0]
    np.save(odd, np.kron(np.load(odd), np.ones((2, 2))))
    result = cli("score", file, *ON, "--name", "tool", "--maps", folder, "--results", tmp_path)
    assert result.exit_code == 0, result.text
    notes = [json.dumps(other.notes) for _, other in pairs(ran)]
    assert any("different sizes" in note for note in notes)


def test_no_scores_of_train_images_are_needed_and_those_that_are_missing_are_named(cli, ran, tmp_path):
    on = ["--categories", "bolt", "--seeds", "1"]
    assert cli("data", "split", "mvtec_ad", *on, "--out", tmp_path / "split.csv").exit_code == 0
    shown = pd.read_csv(tmp_path / "split.csv").query("split != 'train'")["path"]
    part = pd.read_csv(written(ran, tmp_path / "scores.csv"))
    part = part[part["path"].isin(shown)]
    part.to_csv(tmp_path / "part.csv", index=False)
    command = ["score", tmp_path / "part.csv", "--dataset", "mvtec_ad", *on, "--name", "part", "--results", tmp_path]
    assert cli(*command).exit_code == 0
    part.iloc[2:].to_csv(tmp_path / "part.csv", index=False)
    cli(*command).assert_refused(f"2 of {len(shown)} ", "have no score", *part["path"].iloc[:2])


def test_paths_may_name_the_data_through_a_link(cli, ran, photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    file = written(ran, tmp_path / "scores.csv", tmp_path / "link")
    command = ["score", file, *ON, "--name", "tool", "--results", tmp_path]
    assert cli(*command, "--data", tmp_path / "link").exit_code == 0
    file = written(ran, tmp_path / "scores.csv", photos)
    assert cli(*command, "--data", tmp_path / "link").exit_code == 0


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_a_tool_trained_for_each_seed_and_fold_has_a_score_for_each(cli, photos, tmp_path, name):
    store = Store(tmp_path)
    assert cli("run", "--methods", "random", "--no-floors", *ON, "--results", tmp_path).exit_code == 0
    records = list(store.records())
    tables = [store.scores(r).assign(seed=r.job.seed, fold=int(r.job.fold)) for r in records]
    table = pd.concat(tables)[["path", "score", "seed", "fold"]]
    file = tmp_path / name
    (table.to_parquet if file.suffix == ".parquet" else table.to_csv)(file, index=False)
    assert cli("score", file, "--name", "tool", *ON, "--results", tmp_path).exit_code == 0
    for record in records:
        job = record.job.model_copy(update={"method": Choice(name="external:tool")})
        assert store.get(job, record.fingerprint).measurements == record.measurements
    table[table["seed"] == 0].to_csv(tmp_path / "half.csv", index=False)
    cli("score", tmp_path / "half.csv", "--name", "half", *ON, "--results", tmp_path).assert_refused("seed 1", "fold 0")


@pytest.mark.parametrize(("separator", "comma"), [(";", ","), ("\t", ","), (";", ".")])
def test_tables_of_other_languages_are_read(tmp_path, separator, comma):
    rows = [["path", "score"], ["a.png", f"0{comma}5"], ["b.png", f"1{comma}25"]]
    file = tmp_path / "scores.csv"
    file.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows) + "\n", encoding="utf-8")
    (scores,) = external.read_scores(file).values()
    assert scores.to_dict() == {"a.png": 0.5, "b.png": 1.25}
