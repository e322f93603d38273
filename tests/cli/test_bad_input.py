"""Wrong names, values, files and folders: exit code 2, no traceback, the offender by name, and what to do about it."""

import pickle

import pandas as pd
import pytest
import torch

ON_SYNTHETIC = ["--dataset", "synthetic", "--methods", "brightest", "--no-floors"]
SMALL = ["--categories", "tablet", "--set", "synthetic.n_normal=12", "--set", "synthetic.n_anomalous=8"]
ON_FOLDER = ["--dataset", "folder", "--methods", "brightest"]


@pytest.mark.parametrize(
    ("arguments", "wrong", "cure"),
    [
        (["--dataset", "synthetic", "--methods", "brigtest"], "method 'brigtest'", "Did you mean 'brightest'?"),
        (["--dataset", "sintetic", "--methods", "brightest"], "dataset 'sintetic'", "Did you mean 'synthetic'?"),
        ([*ON_SYNTHETIC, "--categories", "tablett"], "'tablett'", "Did you mean 'tablet'?"),
        (["mvtec_ad", "--categories", "botle"], "'botle'", "Did you mean 'bottle'?"),
        (["smoke", "--dataset", "syntetic"], "'syntetic'", "Did you mean 'synthetic'?"),
        ([*ON_SYNTHETIC, "--set", "brightest.siez=8"], "parameter of brightest 'siez'", "Did you mean 'size'?"),
        ([*ON_SYNTHETIC, "--set", "brigtest.size=8"], "'brigtest'", "Did you mean 'brightest'?"),
        ([*ON_SYNTHETIC, "--set", "cam.epochs=1"], "'cam'", "Known: brightest, pooled, synthetic."),
        (["smok"], "suite 'smok'", "Did you mean 'smoke'?"),
        ([*ON_SYNTHETIC, "--protocol", "poold"], "protocol 'poold'", "Did you mean 'pooled'?"),
        ([*ON_SYNTHETIC, "--threshold", "yuden"], "threshold rule 'yuden'", "Did you mean 'youden'?"),
        ([*ON_SYNTHETIC, "--device", "gpu"], "device 'gpu'", "Take one of: cpu"),
        ([*ON_SYNTHETIC, "--device", "cuda:99"], "device 'cuda:99'", "Take one of: cpu"),
        ([*ON_SYNTHETIC, "--seeds", "one"], "--seeds one", "--seeds 0,1,2"),
        ([*ON_SYNTHETIC, "--seeds", "0,1.5"], "--seeds 0,1.5", "--seeds 0,1,2"),
        ([*ON_SYNTHETIC, "--seeds=-1"], "seeds -1", "from 0 on"),
        (["no/such/suite.yaml"], "no/such/suite.yaml", "cannot be read"),
        (["--no-such-option"], "--no-such-option", "--help"),
    ],
)
def test_unknown_names_are_refused_and_the_nearest_is_offered(run, arguments, wrong, cure):
    run(*arguments).assert_refused(wrong, cure)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [(["list", "method"], "'methods'"), (["show", "brigtest"], "'brightest'"), (["leaderboard", "smok"], "'smoke'")],
)
def test_the_other_commands_offer_the_nearest_name_too(acme, cli, arguments, cure):
    cli(*arguments).assert_refused(f"'{arguments[1]}'", f"Did you mean {cure}?")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("brightest.size=3", "greater than or equal to 4"),
        ("brightest.scale=0", "greater than 0"),
        ("brightest.size=many", "valid integer"),
        ("brightest.size=8.0", "valid integer"),
        ("brightest.size='8'", "valid integer"),
        ("brightest.size=true", "valid integer"),
        ("brightest.scale=true", "valid number"),
        ("brightest.size=", "valid integer"),
        ("synthetic.n_normal=3", "greater than or equal to 4"),
        ("synthetic.max_normal=0", "greater than or equal to 1"),
        ("pooled.train=1", "less than 1"),
        ("pooled.train=0.8", "leaves no test part"),
    ],
)
def test_parameters_out_of_range_or_of_the_wrong_type_are_refused(run, setting, reason):
    owner = setting.partition(".")[0]
    run(*ON_SYNTHETIC, "--set", setting).assert_refused(owner, reason, f"anomalybench show {owner}")


@pytest.mark.parametrize("value", ["-1", ".nan", ".inf"])
def test_a_loss_weight_must_be_positive_and_finite(run, value):
    setting = f"cam.anomaly_weight={value}"
    run("--dataset", "synthetic", "--methods", "cam", "--set", setting, "--dry-run").assert_refused(
        "cam.anomaly_weight"
    )


@pytest.mark.parametrize(
    "setting",
    ["brightest", "brightest.size", "brightest=8", ".size=8", "brightest.=8", "=8", ""],
)
def test_malformed_settings_are_refused_with_an_example(run, setting):
    run(*ON_SYNTHETIC, "--set", setting).assert_refused(f"--set {setting.partition('=')[0]}", "--set cam.epochs=5")


@pytest.mark.parametrize(
    ("value", "reason"), [("[", "not plain YAML"), ("!!python/name:os.system", "tags, as in !!str, are not read")]
)
def test_values_that_are_no_plain_yaml_are_refused(run, value, reason):
    run(*ON_SYNTHETIC, "--set", f"brightest.size={value}").assert_refused(f"--set brightest.size={value}", reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "methods: !!python/object/apply:os.system ['touch {mark}']\ndatasets: [synthetic]",
            "tags, as in !!str, are not read",
        ),
        ("methods: [unclosed", "not plain YAML"),
        ("", "valid dictionary"),
        ("just words", "valid dictionary"),
        ("methods: brightest\ndatasets: [synthetic]", "methods: Input should be a valid list"),
        ("methods: []\ndatasets: [synthetic]", "methods: List should have at least 1 item"),
        ("methods: [brightest]", "datasets: Field required"),
        ("methods:\n- brightest:\n  size: 8\ndatasets: [synthetic]", "brightest"),
        ("methods: [brightest: 8]\ndatasets: [synthetic]", "brightest"),
        ("methods: [brightest: {{size: '8'}}]\ndatasets: [synthetic]", "brightest.size = '8'"),
        ("methods: [brightest]\ndatasets: [synthetic]\nseeds: 3", "seeds: Input should be a valid list"),
        ("methods: [brightest]\ndatasets: [synthetic]\nseeds: [a]", "seeds.0: Input should be a valid integer"),
        ("methods: [brightest]\ndatasets: [synthetic]\nseeds: [-1]", "greater than or equal to 0"),
        ("methods: [brightest]\ndatasets: [synthetic]\nseed: [1]", "Did you mean 'seeds'?"),
        ("methods: [brightest]\ndatasets: [synthetic: {{categories: tablet}}]", "write a list of names"),
        ("methods: [brightest]\ndatasets: [synthetic: {{categories: [tablett]}}]", "Did you mean 'tablet'?"),
        ("methods: [brightest]\ndatasets: [synthetic]\nprotocol: {{pooled: {{tain: 0.5}}}}", "Did you mean 'train'?"),
    ],
)
def test_broken_suites_are_refused_before_anything_runs(run, tmp_path, text, reason):
    suite, mark = tmp_path / "suite.yaml", tmp_path / "executed"
    suite.write_text(text.format(mark=mark))
    run(suite).assert_refused(reason)
    assert not mark.exists()
    assert not list(tmp_path.rglob("record.json"))


def test_a_suite_that_is_not_text_is_refused(run, tmp_path):
    (tmp_path / "suite.yaml").write_bytes(b"\xff\xfe\x00binary")
    run(tmp_path / "suite.yaml").assert_refused("suite.yaml", "not plain YAML")


def test_results_that_cannot_be_written_are_refused_before_anything_runs(acme, cli, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = cli("run", *ON_SYNTHETIC, *SMALL, "--results", tmp_path / "file" / "results")
    result.assert_refused(tmp_path / "file" / "results", "--results DIR")
    assert "auroc" not in result.text


def test_youden_needs_defects_in_the_calibration_part(run):
    result = run(*ON_SYNTHETIC, *SMALL, "--protocol", "standard", "--threshold", "youden")
    result.assert_refused("synthetic/tablet", "holds no defects, which youden needs", "Take normal_quantile or fpr")


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["pickle", "torch", "safetensors", "not_tensors", "missing"])
def test_weights_that_are_more_than_tensors_are_refused_and_not_executed(run, tmp_path, kind):
    mark = tmp_path / "executed"
    file = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind in ("torch", "not_tensors"):
        torch.save({"conv1.weight": Bomb(mark) if kind == "torch" else "text"}, file)
    elif kind != "missing":
        file.write_bytes(pickle.dumps(Bomb(mark)))
    options = ["--set", f"cam.backbone=file:{file}@timm:resnet18", "--set", "cam.size=32", "--set", "cam.epochs=1"]
    run("--dataset", "synthetic", "--methods", "cam", *SMALL, *options).assert_refused(file)
    assert not mark.exists()


def test_scores_that_are_not_numbers_fail_their_job_and_no_other(make_plugin, run, tmp_path):
    source = "\n".join(
        [
            '"""Divides nothing by nothing."""',
            "from dataclasses import dataclass",
            "import numpy as np",
            "from anomalybench import Method, Prediction",
            "@dataclass",
            "class Hopeless(Method):",
            "    learns_from = 'nothing'",
            "    def fit(self, train, context): pass",
            "    def predict(self, images): return Prediction(np.full(len(images), np.nan))",
        ]
    )
    make_plugin(methods={"hopeless": source})
    result = run("--dataset", "synthetic", "--methods", "hopeless,brightest", "--no-floors", *SMALL)
    assert result.exit_code == 1
    assert "Traceback" not in result.text
    assert "Failed: hopeless synthetic/tablet" in result.text
    assert "scores are NaN or infinite" in result.text
    jobs = pd.read_csv(tmp_path / "results" / "leaderboards" / "synthetic_by_category.csv").set_index("method")
    assert jobs["status"].to_dict() == {"brightest": "ok", "hopeless": "failed"}
    assert "NaN" in jobs["error"]["hopeless"]


@pytest.mark.parametrize("name", ["record.json", "scores.parquet", "maps.npz"])
def test_a_result_cut_short_is_made_again(run, tmp_path, name):
    assert run(*ON_SYNTHETIC, *SMALL).exit_code == 0
    (file,) = tmp_path.rglob(name)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = run(*ON_SYNTHETIC, *SMALL)
    assert again.exit_code == 0
    assert "done before" not in again.text
    assert file.stat().st_size > len(whole) // 2
    assert "done before" in run(*ON_SYNTHETIC, *SMALL).text


def test_a_data_folder_that_is_not_there_is_refused(run, tmp_path):
    run(*ON_FOLDER).assert_refused("no data folder", "--data DIR", "ANOMALYBENCH_DATA")
    run(*ON_FOLDER, "--data", tmp_path / "gone").assert_refused(tmp_path / "gone", "does not exist")
    (tmp_path / "file").write_text("not a folder")
    run(*ON_FOLDER, "--data", tmp_path / "file").assert_refused(tmp_path / "file")


@pytest.mark.parametrize("make", [[], ["scratched"], ["good"], ["good/nested"]])
def test_a_folder_without_normal_images_is_refused(run, tmp_path, make):
    data = tmp_path / "parts"
    data.mkdir()
    for name in make:
        (data / name).mkdir(parents=True)
    found = ["no images found"] if "good" in "".join(make) else ["no sub-folder of normal images", "folder.normal=NAME"]
    run(*ON_FOLDER, "--data", data).assert_refused(data, *found)


def test_a_folder_without_categories_is_refused(run, tmp_path):
    (tmp_path / "empty").mkdir()
    options = ["--dataset", "mvtec_ad", "--methods", "brightest", "--data", tmp_path / "empty"]
    run(*options).assert_refused(tmp_path / "empty", "no categories found", "found neither images nor folders", "/good")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("path,label,split\n{a},0,train\n{a},0,test", ["00.png", "listed twice", "train, test"]),
        ("path,label\n{a},0\nbolt/../{a},0", ["00.png", "listed twice"]),
        ("path,defect\n{a},good", ["column 'label' is missing", "Known columns"]),
        ("path,label,defekt\n{a},0,good", ["column 'defekt'", "Did you mean 'defect'?"]),
        ("path,label\n{a},0\n{a},broken", ["line 3", "label 'broken'", "1 or anomalous"]),
        ("path,label\n{a},", ["line 2", "label ''"]),
        ("path,label,split\n{a},0,tain", ["line 2", "split 'tain'", "Did you mean 'train'?"]),
        ("path,label\n../outside.png,0", ["line 2", "../outside.png lies outside"]),
        ("path,label\n/etc/hostname,0", ["line 2", "/etc/hostname lies outside"]),
        ("path,label\n,0", ["line 2", "the path is empty"]),
        ("path,label\nbolt/gone.png,0", ["bolt/gone.png", "does not exist"]),
        ("path,label,mask\n{a},0,\n{b},1,gone.png", ["gone.png", "does not exist"]),
        ("path,label", ["no images found"]),
        ("path,label\n{a},1", ["no normal images"]),
        ("", ["column 'path' is missing"]),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_line(run, images, rows, words):
    a, b = "bolt/train/good/00.png", "bolt/test/scratch/00.png"
    (images / "list.csv").write_text(rows.format(a=a, b=b))
    (images.parent / "outside.png").write_bytes((images / a).read_bytes())
    run(*ON_FOLDER, "--data", images, "--set", "folder.manifest=list.csv").assert_refused(*words)


@pytest.mark.parametrize("content", [None, b"path,label\n\xff\xfe,0\n"])
def test_a_manifest_that_cannot_be_read_is_refused(run, images, content):
    if content is not None:
        (images / "list.csv").write_bytes(content)
    result = run(*ON_FOLDER, "--data", images, "--set", "folder.manifest=list.csv")
    result.assert_refused(images / "list.csv", "cannot be read as a CSV file")
