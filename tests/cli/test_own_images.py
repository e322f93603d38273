"""A user's own images: what is run, what it is called, where it is kept, and what is said of it."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomalybench.bench.store import Store

FLOORS = ["brightness", "pixel_knn", "random"]


def make(folder, seed=0, **classes):
    """Noise: so many 16 x 16 images per class, each class brighter than the one before."""
    rng = np.random.default_rng(seed)
    for place, (name, n) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = rng.integers(0, 100, (16, 16, 3)) + 40 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i:02d}.png")
    return folder


@pytest.fixture
def parts(tmp_path):
    return make(tmp_path / "parts", good=24, bent=10)


@pytest.fixture
def on(run):
    """`run` on a folder with one quick method."""
    return lambda data, *more: run("--data", data, "--methods", "brightest", *more)


def board(results, name):
    return pd.read_csv(results / "leaderboards" / f"{name}.csv")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def fitted(results):
    """When each record was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in results.glob("runs/*/*/*/[!.]*/record.json")}


def test_two_folders_called_images_keep_both_results(on, cli, tmp_path, results):
    for line, seed in (("lineA", 1), ("lineB", 2)):
        result = on(make(tmp_path / line / "images", seed, good=24, bent=10), "--dataset", "folder", "--no-floors")
        assert result.exit_code == 0, result.text
    records = Store(results).records()
    assert len({record.fingerprint for record in records}) == len(records) == 2
    assert {"lineA-images.csv", "lineB-images.csv"} <= {file.name for file in (results / "leaderboards").iterdir()}
    text = cli("leaderboard", "--results", results).text
    assert list(board(results, "all")["dataset"]) == ["lineA-images", "lineB-images"]
    assert "lineA-images, pooled" in text
    assert "lineB-images, pooled" in text
    assert "2 categories" not in text


def test_two_folders_under_one_name_keep_both_results_and_it_is_said(on, cli, tmp_path, results):
    for line, seed in (("lineA", 1), ("lineB", 2)):
        result = on(make(tmp_path / line, seed, good=24, bent=10), "--no-floors", "--name", "line")
        assert result.exit_code == 0, result.text
    assert "the images are not those of the last run; its results are kept" in result.text
    assert len(Store(results).records()) == 2
    text = cli("leaderboard", "--results", results).text
    assert "results on 1 other set of images of the same name are rows of their own" in text
    assert sorted(name.partition(" (images ")[0] for name in board(results, "all")["dataset"]) == ["line", "line"]
    assert board(results, "all")["dataset"].nunique() == 2


def test_added_images_keep_the_old_result_as_history(on, cli, parts, results):
    assert "last run" not in on(parts, "--no-floors").text
    before = fitted(results)
    make(parts, 5, good=25)
    result = on(parts, "--no-floors")
    assert "folder/parts: the images are not those of the last run; its results are kept" in result.text
    after = fitted(results)
    assert len(after) == 2
    assert before.items() <= after.items()
    assert list(board(results, "parts")["dataset"]) == ["parts"]
    assert "other set of images" in cli("leaderboard", "--results", results).text
    assert "last run" not in on(parts, "--no-floors").text


def test_what_a_run_wrote_can_be_asked_for_by_its_name(on, cli, parts, results):
    assert on(parts, "--no-floors", "--name", "my line").exit_code == 0
    for command, file in (
        ("leaderboard", "leaderboards/my line.csv"), ("report", "reports/my line.html"), ("figures", "figures"),
        ("measure", "leaderboards/my line.csv"),
    ):  # fmt: skip
        result = cli(command, "my line", "--results", results)
        assert result.exit_code == 0, result.text
        assert f"written: {results / file}" in result.text
    record = Store(results).records()[0]
    assert record.job.category == "my line"
    for command in ("leaderboard", "report", "figures", "measure"):
        cli(command, "my lien", "--results", results).assert_refused("unknown suite or run 'my lien'", "'my line'")


def test_files_are_called_after_the_data_folder_and_later_methods_join(run, on, parts, results):
    assert on(parts).exit_code == 0
    assert (results / "reports" / "parts.html").exists()
    result = run("--data", parts, "--methods", "random")
    assert sorted(board(results, "parts")["method"]) == ["brightest", *FLOORS]
    assert "brightest" in result.stdout


@pytest.mark.parametrize("name", ["smoke", "quickstart", "all"])
def test_own_images_cannot_take_the_name_of_a_suite(on, parts, tmp_path, results, name):
    on(parts, "--name", name).assert_refused(f"--name {name}", "Take another name")
    parts.rename(tmp_path / name)
    assert on(tmp_path / name, "--no-floors").exit_code == 0
    names = [
        file.name.removesuffix("_by_category.csv") for file in (results / "leaderboards").glob("*_by_category.csv")
    ]
    assert len(names) == 1
    assert names[0] != name in names[0]


@pytest.mark.parametrize("name", ["../../out", "a/b", "", " ", "a\nb", "\x1b[31mred", "x" * 61, ".."])
def test_hostile_names_write_nothing_elsewhere(on, parts, tmp_path, name):
    before = set(tmp_path.iterdir())
    result = on(parts, "--no-floors", "--name", name)
    result.assert_refused("name")
    assert "\x1b" not in result.stdout + result.stderr
    assert set(tmp_path.iterdir()) - {tmp_path / "results"} == before


def test_hostile_names_of_folders_stay_below_the_results(on, cli, parts, tmp_path, results):
    hostile = tmp_path / "[red]=1+1 :smile: %2e"
    parts.rename(hostile)
    result = on(hostile, "--no-floors")
    assert result.exit_code == 0, result.text
    assert "[red]=1+1 :smile: %2e, pooled" in result.text
    assert len(list((results / "leaderboards").glob("*_by_category.csv"))) == 1
    assert cli("leaderboard", "[red]=1+1 :smile: %2e", "--results", results).exit_code == 0


def test_the_floors_run_as_well_unless_they_are_not_wanted(on, parts, results):
    assert on(parts).exit_code == 0
    assert sorted(board(results, "parts")["method"]) == ["brightest", *FLOORS]
    on(parts, "--no-floors", "--name", "bare")
    assert list(board(results, "bare")["method"]) == ["brightest"]


def test_a_floor_that_is_named_runs_once(run, parts, results):
    assert run("--data", parts, "--methods", "random,brightest").exit_code == 0
    assert sorted(board(results, "parts")["method"]) == ["brightest", *FLOORS]


@pytest.mark.parametrize("arguments", [["run", "--methods", "random", "--no-floors"], ["data", "check"]])
def test_a_folder_without_a_dataset_is_recognised_and_it_is_said(cli, parts, images, results, arguments):
    result = cli(*arguments, "--data", parts, "--results", results)
    assert result.exit_code == 0, result.text
    assert "--data is read as a folder with the classes bent (10) and good (24)" in result.text
    result = cli(*arguments, "--data", images, "--results", results)
    assert "--data is read as folders with train and test in them: the categories bolt and nut" in result.text


@pytest.mark.parametrize("arguments", [["run"], ["run", "--dry-run"], ["data", "check"]])
def test_what_cannot_be_recognised_is_refused_with_commands_that_work(cli, tmp_path, results, arguments):
    data = make(tmp_path / "odd", ok_front=12, scratch=8)
    result = cli(*arguments, "--data", data, "--results", results)
    result.assert_refused("cannot tell which images are normal", "ok_front (12)", "works:")
    command = next(line for line in result.stderr.splitlines() if line.strip().startswith("anomalybench run "))
    words = command.split("(")[0].split()[1:]
    assert cli(*words, "--methods", "random", "--no-floors", "--results", results).exit_code == 0
    assert not list(results.glob("leaderboards/quickstart*"))


def test_groups_are_counted(on, parts):
    result = on(parts, "--no-floors", "--group-by", r"(\w+/\d)\d")
    assert "folder/parts: 4 groups from 34 images" in result.text
    on(parts, "--group-by", "nothing").assert_refused("--group-by nothing matches none of the 34 paths", "bent/00.png")


def test_one_defective_test_image_says_nothing(on, cli, tmp_path, results):
    result = on(make(tmp_path / "few", good=24, bent=5))
    assert result.exit_code == 0, result.text
    words = "only 1 defective test image: says nothing"
    shown = " ".join("".join(result.stdout.partition("few, pooled")[1:]).split())
    assert shown.count(words) == 4
    assert "tied with the best" not in result.stdout
    assert "not above a floor" not in result.stdout
    assert set(board(results, "few")["not_ranked"]) == {words}
    assert not board(results, "few")["tied_with_best"].any()
    assert words in (results / "reports" / "few.html").read_text()


def test_with_only_good_images_the_most_unusual_are_shown(run, tmp_path, results):
    data = make(tmp_path / "fine", good=40)
    for file in (data / "good").glob("*3.png"):
        Image.new("RGB", (16, 16), (250, 250, 250)).save(file)
    result = run("--data", data, "--methods", "cam,brightest")
    assert result.exit_code == 0, result.text
    assert "Warning" not in result.text
    assert result.text.count("cam learns from labels, but the train part has no anomalous images") == 1
    jobs = pd.read_csv(results / "leaderboards" / "fine_by_category.csv").set_index("method")
    assert set(jobs.drop("cam")["threshold_rule"].str.partition("(")[0]) == {"normal_quantile"}
    assert "no defective test image: nothing to rank by" in result.text
    (record,) = [one for one in Store(results).records() if one.job.method.name == "brightest"]
    scores = Store(results).scores(record)
    scores = scores[scores["split"] == "test"].sort_values("score", ascending=False)
    title, table = result.stdout.partition("Most unusual images: folder/fine, by brightest")[1:]
    assert title
    rows = [line.split() for line in table.splitlines() if line.strip().startswith("good/")]
    assert [float(row[1]) for row in rows] == pytest.approx(list(scores["score"][:5]), abs=0.001)
    assert {row[0] for row in rows} <= set(scores["path"])
    assert {row[2] for row in rows} <= {"yes", "no"}
    assert f"{len(scores)} of 40 were tested; --protocol kfold tests all" in result.text


def test_with_only_good_images_kfold_looks_at_all_of_them(run, tmp_path):
    data = make(tmp_path / "fine", good=40)
    Image.new("RGB", (16, 16), (250, 250, 250)).save(data / "good" / "07.png")
    result = run("--data", data, "--methods", "brightest", "--protocol", "kfold", "--no-floors")
    assert result.exit_code == 0, result.text
    assert "All 40 images were tested" in result.text
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.strip().startswith("good/")]
    assert rows[0] == "good/07.png"
    assert len(rows) == len(set(rows)) == 5


def test_with_defects_no_unusual_images_are_shown(on, parts):
    assert "Most unusual" not in on(parts, "--no-floors").text


def spoil(parts):
    (parts / "good" / "03.png").write_bytes(b"no image")
    (parts / "bent" / "04.png").write_bytes(b"")


def test_broken_images_are_listed_at_once_before_anything_runs(on, parts, results):
    spoil(parts)
    for more in ([], ["--dry-run"]):
        result = on(parts, *more)
        result.assert_refused("2 files cannot be used", "good/03.png", "bent/04.png", "data check", "--skip-unreadable")
        assert not list(results.rglob("record.json"))


def test_skip_unreadable_goes_on_and_says_which(on, cli, parts, results):
    spoil(parts)
    result = on(parts, "--no-floors", "--skip-unreadable")
    assert result.exit_code == 0, result.text
    assert "folder/parts: skipped as unreadable: 2 files (bent/04.png, good/03.png)" in result.text
    (record,) = Store(results).records()
    assert record.counts.images == 32
    assert all(any(path in note for note in record.notes) for path in ("good/03.png", "bent/04.png"))
    card = cli("show", record.id, "--results", results).text
    assert "good/03.png" in card
    assert "bent/04.png" in card


def test_left_out_files_are_counted_and_named(on, parts):
    (parts / "good" / "photo.heic").write_bytes(b"heic")
    shutil.copy(parts / "good" / "00.png", parts / "loose.png")
    (parts / "empty").mkdir()
    text = on(parts, "--no-floors").text
    assert "folder/parts: left out: " in text
    for words in ("1 beside the class folders (loose.png)", "1 without images (empty)", "good/photo.heic"):
        assert words in text


def test_defect_types_are_shown_under_the_folders_name(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    data = make(tmp_path / "widgets", good=24, bent=10, scratched=10)
    result = run("--data", data, "--methods", "brightest", "--protocol", "unseen_defect", "--no-floors")
    assert result.exit_code == 0, result.text
    assert "Judged right by defect type: widgets, unseen_defect" in result.stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.split()}
    for defect in ("bent", "scratched", "good"):
        assert 0 <= float(rows[defect][0]) <= 1


def test_the_jobs_of_a_dry_run_have_the_ids_that_the_run_prints(on, parts):
    listed = [line.split()[0] for line in on(parts, "--dry-run").stdout.splitlines() if " parts " in line]
    printed = [line.split()[0] for line in on(parts).stdout.splitlines() if ": ok in " in line]
    assert listed == printed
    assert len(printed) == 4
