import shutil
import subprocess
import sys
from pathlib import Path

import made_models
import pytest
import torch
from PIL import Image

from anomalybench.core.method import Graph
from anomalybench.core.model_card import Decision
from anomalybench.deploy.loading import load_model
from anomalybench.deploy.onnx_export import export

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "run_exported.py"
# Only what the script says that it needs can be imported.
BLOCKED = """
import runpy, sys
for name in ("torch", "anomalybench", "onnx", "timm", "scipy", "pandas", "openvino"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Brightness(torch.nn.Module):
    def forward(self, pictures):
        return pictures.mean((1, 2, 3))


@pytest.fixture
def model(tmp_path):
    card = made_models.bundle(decision=Decision(threshold=130.5, measured=130.5, rule="fixed")).card
    return export(card, Graph(Brightness(), 16), tmp_path / "model.onnx")


def test_it_says_what_the_model_says_without_torch_and_anomalybench(model, tmp_path):
    shutil.copy(SCRIPT, tmp_path / "run.py")
    images = [tmp_path / "dark.png", tmp_path / "bright.jpg", tmp_path / "grey.png", tmp_path / "turned.png"]
    Image.new("RGB", (40, 30), (100, 90, 80)).save(images[0])
    Image.new("RGB", (300, 200), (200, 210, 220)).save(images[1])
    Image.new("L", (16, 16), 131).save(images[2])
    Image.new("P", (7, 90), 0).save(images[3])
    command = [sys.executable, "-I", "-c", BLOCKED, tmp_path / "run.py", model, *images]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    lines = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    ours = load_model(model)
    assert [line[0] for line in lines] == [str(image) for image in images]
    assert [float(line[1]) for line in lines] == [ours(image).score for image in images]
    assert [line[2] for line in lines] == [ours(image).verdict for image in images]
    assert [line[2] for line in lines] == ["normal", "anomalous", "anomalous", "normal"]


def test_it_fits_into_the_documentation():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 20
