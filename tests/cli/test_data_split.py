"""`data split` writes the split that `run` uses; groups stay in one part."""

import pandas as pd
import pytest

from anomalybench.bench.store import Store

SHOWN = ["path", "split", "label", "defect", "category", "seed", "fold"]


@pytest.fixture
def split(cli, images, tmp_path):
    """`data split` of the two categories of images, as a table."""

    def call(*arguments):
        out = tmp_path / "split.csv"
        result = cli("data", "split", "mvtec_ad", "--data", images, "--out", out, *arguments)
        assert result.exit_code == 0, result.text
        assert f"written: {out}" in result.text
        table = pd.read_csv(out, dtype={"fold": str}, keep_default_na=False)
        assert list(table.columns) == SHOWN
        return table

    return call


PROTOCOLS = [
    ["--seeds", "0,3"], ["--protocol", "kfold", "--set", "kfold.k=3"], ["--protocol", "standard"],
    ["--protocol", "few", "--categories", "nut"], ["--protocol", "unseen_defect", "--seeds", "1"],
    ["--group-by", r"(\d)\.png", "--set", "pooled.train=0.4"], ["--set", "mvtec_ad.max_normal=9"],
]  # fmt: skip


@pytest.mark.parametrize("options", PROTOCOLS)
def test_it_is_the_split_of_a_run(run, split, images, tmp_path, options):
    table = split(*options)
    result = run("--methods", "brightest", "--no-floors", "--dataset", "mvtec_ad", "--data", images, *options)
    assert result.exit_code == 0, result.text
    store, jobs = Store(tmp_path / "results"), table.groupby(["category", "seed", "fold"])
    records = list(store.records())
    assert len(records) == len(jobs)
    for record in records:
        mine = jobs.get_group((record.job.category, record.job.seed, record.job.fold))
        assert not mine["path"].duplicated().any()
        columns = ["path", "split", "label", "defect"]
        used = store.scores(record)[columns].astype(str)
        assert set(used.itertuples(index=False, name=None)) == set(
            mine.loc[mine["split"] != "train", columns].astype(str).itertuples(index=False, name=None)
        )
        train = mine[mine["split"] == "train"]
        assert record.counts.train_normal == (train["label"] == 0).sum() > 0


def test_every_image_is_in_one_part_and_seeds_differ(split):
    table = split("--seeds", "0,1")
    assert (table.groupby(["path", "seed"]).size() == 1).all()
    assert table["path"].nunique() == 50
    parts = table.pivot(index="path", columns="seed", values="split")
    assert (parts[0] != parts[1]).any()


def test_groups_stay_in_one_part_and_what_does_not_match_stands_alone(split):
    loose = split()
    number = loose["path"].str.extract(r"(\w+)\.png", expand=False).str[-1] + loose["category"]
    assert (loose.groupby(number)["split"].nunique() > 1).any()
    for seed in ("0", "1", "2"):
        table = split("--group-by", r"(\d)\.png$", "--seeds", seed)
        digit = table["path"].str.extract(r"(\d)\.png", expand=False)
        assert (table.groupby(["category", digit])["split"].nunique() == 1).all()
    part = split("--group-by", "scratch/0[0-4]")
    tied = part[part["path"].str.contains("scratch/0[0-4]")]
    assert tied.groupby(tied["path"])["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mvtec"], "Did you mean 'mvtec_ad'?"),
        (["mvtec_ad", "--categories", "bolts"], "Did you mean 'bolt'?"),
        (["mvtec_ad", "--protocol", "poold"], "Did you mean 'pooled'?"),
        (["mvtec_ad", "--group-by", "["], "is no regular expression"),
        (["mvtec_ad", "--group-by", "nothing like this"], "matches none of the 25 paths"),
        (["mvtec_ad", "--seeds", "x"], "--seeds x"),
        (["mvtec_ad", "--set", "kfold.k=3"], "'kfold'"),
        (["mvtec_ad", "--data", "/no/such"], "/no/such does not exist"),
        (["mvtec_ad", "--out", "{file}/split.csv"], "file/split.csv: cannot be written"),
        (["mvtec_ad", "--out", "/"], "cannot be written"),
    ],
)
def test_slips_are_refused_and_nothing_is_written(cli, images, tmp_path, arguments, words):
    out = tmp_path / "split.csv"
    (tmp_path / "file").write_text("in the way")
    arguments = [word.format(file=tmp_path / "file") for word in arguments]
    cli("data", "split", "--data", images, "--out", out, *arguments).assert_refused(words)
    assert not out.exists()


def test_without_a_dataset_the_folder_is_recognised_or_must_be_named(cli, images, tmp_path):
    out = tmp_path / "split.csv"
    result = cli("data", "split", "--data", images, "--out", out)
    assert result.exit_code == 0, result.text
    assert "--data is read as folders with train and test in them" in result.text
    assert pd.read_csv(out)["path"].nunique() == 50
    out.unlink()
    cli("data", "split", "--out", out).assert_refused("DATASET or --data DIR")
    cli("data", "check", "--results", tmp_path).assert_refused("DATASET or --data DIR")
    assert not out.exists()
