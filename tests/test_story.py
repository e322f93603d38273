"""The README's story on real solar cells: run, promote, predict, export, serve, ask; the same verdicts everywhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anomalybench
from anomalybench.bench.store import Store
from anomalybench.deploy import predictions_file

httpx = pytest.importorskip("httpx", reason="needs the extra dev")
pytest.importorskip("fastapi", reason="needs the extra serve")

PROGRAM = "from anomalybench.cli import main; main()"
SIZE = ("--set", "elpv.max_normal=60", "--set", "elpv.max_anomalous=40")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("story") / "results"


@pytest.fixture(scope="module")
def served(results):
    """The story up to the service: each step is the command that a user types."""

    def command(*words):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, words), "--results", results],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = command("run", "--dataset", "elpv", "--categories", "mono", "--methods", "padim,deep_knn", *SIZE)
    assert "models promote best:elpv --as NAME" in said
    command("models", "promote", "best:elpv", "--as", "cell")
    command("predict", "cell", results.parent / "new", "--out", results.parent / "torch.csv", "--engine", "torch")
    command("export", "cell")
    command("predict", "cell", results.parent / "new", "--out", results.parent / "onnx.csv")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--port", "0", "--results", results], stdout=subprocess.PIPE, text=True
    )
    try:
        address = next(match[1] for line in process.stdout if (match := re.search(r"serving at (\S+)", line)))
        yield address
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="module", autouse=True)
def new_images(results):
    """A folder of images from beyond the data set: other sizes, grey, nearly black."""
    elpv = pytest.importorskip("elpv_dataset", reason="needs the extra quickstart")
    folder = results.parent / "new"
    folder.mkdir()
    for number, file in enumerate(sorted(Path(elpv.__file__).parent.glob("data/images/*.png"))[900:912]):
        with Image.open(file) as opened:
            picture = opened.convert("RGB" if number % 2 else "L")
        if number % 3 == 1:
            picture = picture.resize((180 + 37 * number, 420 - 11 * number))
        if number % 4 == 3:
            picture = picture.point(lambda level: level // 32)
        picture.save(folder / f"{number:02d}.png")
    return folder


def rows(file):
    return {Path(row["path"]).name: row for row in predictions_file.read(file)}


@pytest.mark.slow
def test_the_same_verdicts_everywhere(served, results, new_images):
    by_torch, by_onnx = rows(results.parent / "torch.csv"), rows(results.parent / "onnx.csv")
    model = anomalybench.load_model(results / "models" / "cell" / "1")
    assert model.engine == "onnx"
    names = sorted(by_torch)
    assert len(names) == 12
    files = [("image", (name, (new_images / name).read_bytes(), "image/png")) for name in names]
    answer = httpx.post(f"{served}/models/cell/predict", files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    asked = dict(zip(names, answer.json(), strict=True))
    scale = np.ptp([row["score"] for row in by_torch.values()])
    for name in names:
        found = model(new_images / name)
        verdicts = {by_torch[name]["verdict"], by_onnx[name]["verdict"], asked[name]["verdict"], found.verdict}
        assert len(verdicts) == 1, name
        scores = [by_torch[name]["score"], by_onnx[name]["score"], asked[name]["score"], found.score]
        assert np.ptp(scores) <= 1e-4 * scale, name
        assert asked[name]["threshold"] == found.threshold == by_torch[name]["threshold"]
        assert len(asked[name]["boxes"]) == len(by_torch[name]["boxes"])


@pytest.mark.slow
def test_what_is_served_decides_as_what_was_measured(served, results):
    proof = json.loads((results / "models" / "cell" / "1" / "parity.json").read_text())
    assert proof["compared_with"] == "record"
    assert proof["job"]["decisions"] == 0
    assert proof["job"]["scores"] <= 1e-4
    assert all(one["decisions"] == 0 for one in proof["derived"].values())
    (record,) = [one for one in Store(results).records() if one.id == anomalybench.load_model(
        results / "models" / "cell" / "1").card.record]  # fmt: skip
    assert proof["job"]["images"] == record.n_scores
