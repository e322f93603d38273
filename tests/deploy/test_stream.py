"""Many images through a model: one that an engine refuses costs only itself."""

import made_models
import numpy as np
from PIL import Image

from anomalybench.core.errors import DataError
from anomalybench.core.method import Prediction
from anomalybench.deploy.model import Model
from anomalybench.deploy.stream import predictions


def run(images):
    if any(image.shape[1] > 30 for image in images):
        raise DataError("too long for this engine")
    return Prediction(np.array([float(image.mean()) for image in images]))


def test_an_image_that_the_engine_refuses_is_a_row_with_its_reason(tmp_path):
    for name, width in (("a", 8), ("b", 40), ("c", 8)):
        Image.fromarray(np.full((8, width, 3), 7, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_text("no image")
    rows = list(predictions(Model(made_models.bundle().card, run, "torch"), sorted(tmp_path.iterdir())))
    assert [row.verdict is not None for row in rows] == [True, False, True, False]
    assert "b.png: too long for this engine" in rows[1].reason
    assert rows[0].verdict.score == rows[2].verdict.score == 7
