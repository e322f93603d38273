"""What a user can get wrong with `score`: exit code 2, one message that names the slip, and nothing stored."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

B = "bolt/test/good/10.png"


@pytest.fixture
def good(images, monkeypatch, tmp_path):
    """A file of scores of all images, whose paths are as in the data folder; maps in the folder `maps`."""
    monkeypatch.setenv("ANOMALYBENCH_DATA", str(images))
    files = sorted(file.relative_to(images) for file in images.rglob("*.png") if "ground_truth" not in file.parts)
    table = pd.DataFrame({"path": [file.as_posix() for file in files], "score": np.arange(len(files)) / 7})
    table.to_csv(tmp_path / "good.csv", index=False)
    for file in files:
        target = (tmp_path / "maps" / file).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, np.eye(4))
    return table


@pytest.fixture
def score(cli, tmp_path, good):
    """The sub-command on the images; whatever is refused must leave nothing behind."""

    def call(file, *arguments, name="tool"):
        on = ["--dataset", "mvtec_ad", "--name", name, "--results", tmp_path / "results"]
        result = cli("score", file, *on, *arguments)
        stored = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
        assert bool(stored) == (result.exit_code == 0)
        return result

    return call


def test_what_is_right_is_taken(score, tmp_path):
    result = score(tmp_path / "good.csv", "--maps", tmp_path / "maps")
    assert result.exit_code == 0, result.text
    assert "external:tool" in result.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.rename(columns={"score": "skore"}), ["column 'score' is missing", "skore"]),
        (lambda t: t.rename(columns={"path": "Path"}), ["column 'path' is missing", "Path"]),
        (lambda t: pd.concat([t, t[:1]]), ["1 paths are listed twice", B]),
        (lambda t: pd.concat([t, t[:1].assign(path=f"./{B}")]), ["listed twice", "spelt differently", f"./{B}"]),
        (lambda t: t.assign(score=[np.nan, *t["score"][1:]]), ["1 scores", "no finite", B]),
        (lambda t: t.assign(score=[np.inf, *t["score"][1:]]), ["1 scores", "no finite", B]),
        (lambda t: t.assign(score=["high", *t["score"][1:]]), ["1 scores", "no finite", B]),
        (lambda t: t.assign(score="0,5"), ["50 scores", "no finite", ", ..."]),
        (lambda t: t.assign(path=["", *t["path"][1:]]), ["1 of 50 rows have no path"]),
        (lambda t: t.assign(path=["../outside.png", *t["path"][1:]]), ["1 of 50 paths", "../outside.png"]),
        (lambda t: t.assign(path=["/etc/hostname", *t["path"][1:]]), ["1 of 50 paths", "/etc/hostname"]),
        (lambda t: t.assign(path=["bolt/test/good/10.pgn", *t["path"][1:]]), ["not in", f"Did you mean {B}?"]),
        (lambda t: t.assign(path="images/" + t["path"]), ["50 of 50 paths", "relative to that folder", "like bolt/"]),
        (lambda t: t[:0], ["no rows"]),
    ],
)
def test_a_table_with_a_slip_is_refused(score, good, tmp_path, change, words):
    for file, write in ((tmp_path / "s.csv", "to_csv"), (tmp_path / "s.parquet", "to_parquet")):
        table = change(good)
        if write == "to_parquet" and table["score" if "score" in table else "skore"].dtype == object:
            table["score"] = table["score"].astype(str)
        getattr(table, write)(file, index=False)
        score(file).assert_refused(*words)


@pytest.mark.parametrize("name", ["file.csv", "file.parquet", "file"])
@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "garbage", "image"])
def test_a_file_that_is_no_table_is_refused(score, tmp_path, name, kind):
    file = tmp_path / name
    if kind == "folder":
        file.mkdir()
    elif kind == "image":
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(file, format="png")
    elif kind != "missing":
        file.write_bytes(b"" if kind == "empty" else np.random.default_rng(0).bytes(500))
    score(file).assert_refused(file, "cannot be read as a CSV or Parquet table")


@pytest.mark.parametrize("values", [[[1, 2]] * 50, [{"a": 1}] * 50, [None] * 50, [b"x"] * 50])
def test_scores_that_are_no_numbers_at_all_are_refused(score, good, tmp_path, values):
    good.assign(score=values).to_parquet(tmp_path / "s.parquet")
    score(tmp_path / "s.parquet").assert_refused("50 scores are missing or no finite numbers")


@pytest.mark.parametrize("name", ["", " a", "a/b", "a:b", "[red]", "x" * 61, "a\nb", "<b>"])
def test_a_name_that_tables_could_not_show_is_refused(score, tmp_path, name):
    score(tmp_path / "good.csv", name=name).assert_refused("--name", "letters, digits, spaces")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dataset", "mvtec"], "Did you mean 'mvtec_ad'?"),
        (["--categories", "bolts"], "Did you mean 'bolt'?"),
        (["--protocol", "poold"], "Did you mean 'pooled'?"),
        (["--seeds", "one"], "--seeds one"),
        (["--threshold", "yuden"], "Did you mean 'youden'?"),
        (["--set", "pooled.tain=0.5"], "Did you mean 'train'?"),
        (["--set", "cam.epochs=1"], "'cam'"),
        (["--group-by", "("], "is no regular expression"),
        (["--learns-from", "normal"], "Did you mean 'normals'?"),
        (["--suite", "smok"], "Did you mean 'smoke'?"),
        (["--data", "/no/such/folder"], "/no/such/folder does not exist"),
        (["--maps", "/no/such/folder"], "/no/such/folder"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_an_option_with_a_slip_is_refused(score, tmp_path, options, words):
    score(tmp_path / "good.csv", *options).assert_refused(words)


def test_images_must_be_named(cli, tmp_path):
    cli("score", tmp_path / "good.csv", "--name", "x").assert_refused("--dataset", "--suite")


def test_results_that_cannot_be_written_are_refused(score, tmp_path):
    score(tmp_path / "good.csv", "--results", tmp_path / "good.csv").assert_refused("good.csv", "--results DIR")


def broken(kind, file):
    arrays = {
        "three channels": np.zeros((4, 4, 3)), "one number": np.zeros(()), "nothing": np.zeros((0, 4)),
        "infinite": np.full((4, 4), np.inf), "NaN": np.full((4, 4), np.nan),
        "complex": np.zeros((4, 4), complex), "text": np.full((4, 4), "a"), "pickled": np.full((4, 4), {1}),
    }  # fmt: skip
    if kind in arrays:
        np.save(file, arrays[kind], allow_pickle=True)
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.write_bytes({"empty": b"", "garbage": b"garbage" * 9}[kind])


@pytest.mark.parametrize(
    "kind",
    ["three channels", "one number", "nothing", "infinite", "NaN", "complex", "text", "pickled", "cut",
     "empty", "garbage"],
)  # fmt: skip
def test_a_broken_map_is_refused_by_name(score, tmp_path, kind):
    for file in (tmp_path / "maps" / "bolt").rglob("*.npy"):
        broken(kind, file)
    score(tmp_path / "good.csv", "--maps", tmp_path / "maps").assert_refused(tmp_path / "maps" / "bolt", ".npy: ")


def test_a_map_of_a_format_that_is_not_allowed_is_not_opened(score, tmp_path):
    """Pillow would start Ghostscript for it, whatever the file is called."""
    for file in list((tmp_path / "maps").rglob("*.npy")):
        file.with_suffix(".tiff").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n")
        file.unlink()
    result = score(tmp_path / "good.csv", "--maps", tmp_path / "maps")
    result.assert_refused(".tiff: cannot be read as a map (it is none of")


def test_a_broken_tiff_and_a_missing_map_are_refused_by_name(score, good, tmp_path):
    files = list((tmp_path / "maps").rglob("*.npy"))
    for file in files:
        file.with_suffix(".tiff").write_bytes(b"II*\0garbage")
        file.unlink()
    result = score(tmp_path / "good.csv", "--maps", tmp_path / "maps")
    result.assert_refused(".tiff: cannot be read as a map")
    for file in files:
        file.with_suffix(".tiff").unlink()
    result = score(tmp_path / "good.csv", "--maps", tmp_path / "maps")
    result.assert_refused("have no map", "bolt/", "a/b.npy, a/b.tiff or a/b.tif")
