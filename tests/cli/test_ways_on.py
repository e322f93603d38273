"""What a run says of itself and of what comes next: the right numbers, and options that work."""

import numpy as np
import pytest
from PIL import Image


def make(folder, **classes):
    """Noise: so many 16 x 16 images per class, each class brighter than the one before."""
    rng = np.random.default_rng(0)
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


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def test_what_is_only_measured_is_printed_by_the_rule_that_was_asked_for(on, parts):
    """The record holds the measurements of both rules; a line of the run is about the one of this run."""
    first = on(parts, "--no-floors", "--set", "fixed.t=99999", "--threshold", "fixed").text
    assert "balanced accuracy 0.500" in first
    by_default = on(parts, "--no-floors").text
    again = on(parts, "--no-floors", "--set", "fixed.t=99999", "--threshold", "fixed").text
    words = (by_default, " measured "), (again, " done before ")
    lines = [[line for line in text.splitlines() if word in line] for text, word in words]
    assert "balanced accuracy 0.500" not in lines[0][0]
    assert "balanced accuracy 0.500" in lines[1][0]


def test_a_parameter_of_a_dataset_settles_how_a_folder_is_read(on, cli, tmp_path, results):
    """The options of an error work in every command, with and without --dataset."""
    data = make(tmp_path / "teile", gut=24, kratzer=10)
    for command in (
        lambda *more: on(data, "--no-floors", *more),
        lambda *more: cli("data", "check", "--data", data, *more),
    ):
        refused = command("--results", results)
        assert refused.exit_code == 2
        assert "--set folder.normal=gut" in refused.text
        result = command("--set", "folder.normal=gut", "--results", results)
        assert result.exit_code in (0, 1), result.text
        assert "folder/teile" in result.text


def test_the_run_ends_with_what_helps_next(on, tmp_path):
    few = make(tmp_path / "few", good=24, bent=8)
    assert "Next: --protocol kfold" in on(few).text
    folded = on(few, "--protocol", "kfold").text
    assert "--protocol kfold tests" not in folded
    assert "Next: which differences are real: anomalybench compare --results" in folded


def test_a_cut_off_image_fails_the_jobs_and_the_way_on_is_named(on, parts):
    file = parts / "good" / "03.png"
    file.write_bytes(file.read_bytes()[:300])
    result = on(parts, "--no-floors")
    assert result.exit_code == 2
    assert result.text.count("--skip-unreadable") == 1
    assert on(parts, "--no-floors", "--skip-unreadable").exit_code == 0


def test_a_feature_store_below_nothing_is_refused(on, parts):
    result = on(parts, "--feature-store", "-4")
    assert (result.exit_code, result.text.strip()) == (2, "Error: --feature-store -4: gigabytes; 0 keeps none.")
