from concurrent.futures import ThreadPoolExecutor

import made_models
import numpy as np
import onnx
import pytest
import torch

from anomalybench.core.errors import DataError, StoreError, UsageError
from anomalybench.core.method import Graph, ImageArrays, WeightsSource
from anomalybench.deploy import onnx_export, onnx_model, openvino_model
from anomalybench.deploy.exported import LONGEST
from anomalybench.deploy.loading import load_model
from anomalybench.vision.images import stack


class Network(torch.nn.Module):
    """Distance from a grey level, through a convolution as in real methods."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, pictures):
        maps = self.layer(pictures / 255).square().mean(1)
        return maps.amax((1, 2)), maps


SIDE = 16
NETWORK = Network().eval()
IMAGES = [
    *made_models.normal(3),
    *(np.random.default_rng(i).integers(0, 256, (9 + i, 40, 3), np.uint8) for i in range(3)),
]
WEIGHTS = WeightsSource("timm:some_net", "a package", "Apache-2.0")


@pytest.fixture
def exported(tmp_path):
    card = made_models.bundle(weights=WEIGHTS).card
    return onnx_export.export(card, Graph(NETWORK, SIDE), tmp_path / "model.onnx")


@pytest.fixture
def openvino_folder(exported):
    pytest.importorskip("openvino")
    openvino_model.convert(exported, made_models.bundle().card, exported.with_suffix(".xml"))
    return exported.parent


@pytest.fixture(params=["onnx", "openvino"])
def model(request, exported):
    if request.param == "onnx":
        return onnx_model.load(exported)
    return openvino_model.load(request.getfixturevalue("openvino_folder"))


def test_images_of_all_sizes_get_what_the_network_gives(model):
    scores, maps = (one.detach().numpy() for one in NETWORK(stack(ImageArrays(IMAGES), SIDE).float()))
    found = model.predict(ImageArrays(IMAGES))
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    np.testing.assert_allclose(found.maps, maps, rtol=1e-4, atol=1e-6)


def test_no_image_depends_on_the_others(model):
    together = model.predict(ImageArrays(IMAGES))
    for i, image in enumerate(IMAGES):
        alone = model.predict(ImageArrays([image]))
        assert alone.scores[0] == together.scores[i]
        np.testing.assert_array_equal(alone.maps[0], together.maps[i])


@pytest.mark.parametrize("height", [SIDE, 9, 40])
@pytest.mark.parametrize("width", [SIDE, 9, 40])
def test_the_first_image_of_all_is_no_exception(openvino_folder, height, width):
    """OpenVINO has computed with memory that was not filled yet, in the first run and where images became larger."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    model = openvino_model.load(openvino_folder)
    expected = NETWORK(stack(ImageArrays([image]), SIDE).float())[0].item()
    assert model.predict(ImageArrays([image])).scores[0] == pytest.approx(expected, rel=1e-5)


def test_several_threads_use_one_model(model):
    expected = model.predict(ImageArrays(IMAGES)).scores
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.predict(ImageArrays(IMAGES)).scores, range(12)):
            np.testing.assert_array_equal(found, expected)


def test_the_card_travels_in_the_file(model):
    card = made_models.bundle().card
    assert model.card.decision == card.decision
    assert model.card.job == card.job


def test_what_a_user_looks_for_lies_in_the_metadata(exported):
    model = onnx.load(exported)
    found = {entry.key: entry.value for entry in model.metadata_props}
    card = made_models.bundle().card
    assert float(found["threshold"]) == card.decision.threshold
    assert found["rule"] == card.decision.rule
    assert (found["method"], found["category"], found["job"]) == ("pixel_knn", "bolt", card.job.id)
    assert found["licence"] == "Apache-2.0"
    assert found["created"] > "2026"
    assert model.producer_name == "anomalybench"
    assert model.producer_version


def test_the_file_is_readable_by_old_runtimes_and_complete(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 9  # ONNX Runtime 1.17
    assert {one.domain: one.version for one in model.opset_import} == {"": 18}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_batches_are_possible_where_sizes_are_equal(exported):
    import onnxruntime

    batch = np.stack(made_models.normal(5))
    scores, maps = onnxruntime.InferenceSession(exported).run(["score", "map"], {"image": batch})
    assert scores.shape == (5,)
    assert maps.shape == (5, SIDE, SIDE)
    np.testing.assert_allclose(scores, NETWORK(stack(ImageArrays(list(batch)), SIDE).float())[0].detach(), rtol=1e-5)


def test_a_model_that_is_too_large_for_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "LIMIT", 100)
    with pytest.raises(UsageError, match="2 GB at most"):
        onnx_export.export(made_models.bundle().card, Graph(NETWORK, SIDE), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_tensors_that_are_no_parameters_count(tmp_path, monkeypatch):
    memory = torch.rand(100, 3)

    class Nearest(torch.nn.Module):
        def forward(self, pictures):
            return torch.cdist(pictures.mean((2, 3)), memory).amin(1)

    graph = Graph(Nearest().eval(), SIDE)
    onnx_export.export(made_models.bundle().card, graph, tmp_path / "model.onnx")
    monkeypatch.setattr(onnx_export, "LIMIT", memory.numel() * 4)
    with pytest.raises(UsageError, match="2 GB at most"):
        onnx_export.export(made_models.bundle().card, graph, tmp_path / "larger.onnx")
    assert not (tmp_path / "larger.onnx").exists()


def test_a_side_too_small_for_an_exact_resize(tmp_path):
    with pytest.raises(UsageError, match="4 at least"):
        onnx_export.export(made_models.bundle().card, Graph(NETWORK, 3), tmp_path / "model.onnx")


@pytest.mark.parametrize("shape", [(1, LONGEST + 1, 3), (LONGEST + 1, 1, 3)])
def test_an_image_that_is_too_long_is_refused(model, shape):
    with pytest.raises(DataError, match=f"up to {LONGEST} per axis.*torch"):
        model.predict(ImageArrays([np.zeros(shape, np.uint8)]))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out DIR"):
        onnx_export.export(made_models.bundle().card, Graph(NETWORK, SIDE), tmp_path / "file" / "model.onnx")


def test_a_missing_export_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="anomalybench export MODEL"):
        load_model(tmp_path, "onnx")
    pytest.importorskip("openvino")
    with pytest.raises(StoreError, match="anomalybench export MODEL --format openvino"):
        load_model(tmp_path, "openvino")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_short(exported, part):
    content = exported.read_bytes()
    exported.write_bytes(content[: int(part * len(content))])
    with pytest.raises(StoreError, match=r"model\.onnx"):
        onnx_model.load(exported)


def with_metadata(file, **changes):
    model = onnx.load(file)
    found = {entry.key: entry.value for entry in model.metadata_props} | changes
    onnx.helper.set_model_props(model, {key: value for key, value in found.items() if value is not None})
    onnx.save(model, file)


def test_a_foreign_file(exported):
    with_metadata(exported, card=None)
    with pytest.raises(StoreError, match="none that anomalybench has exported"):
        onnx_model.load(exported)


def test_a_file_of_a_newer_version(exported):
    with_metadata(exported, card='{"schema_version": 99}')
    with pytest.raises(StoreError, match="newer anomalybench"):
        onnx_model.load(exported)


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_openvino_files_that_are_damaged_or_missing(openvino_folder, name):
    file = openvino_folder / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(StoreError, match=r"model\.xml"):
        openvino_model.load(openvino_folder)
    file.unlink()
    with pytest.raises(StoreError, match=name):
        openvino_model.load(openvino_folder)
