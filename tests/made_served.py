"""Promoted models with exported files that need no fit: the score is the mean grey level, plus an offset."""

import io
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from anomalybench.core.job import Choice, Job
from anomalybench.core.model_card import Decision, MapRange, ModelCard
from anomalybench.deploy.bundle import Bundle
from anomalybench.deploy.exported import CARD_KEY
from anomalybench.deploy.model import ONNX
from anomalybench.deploy.promoted import Promoted
from anomalybench.evaluate.statistics import STATISTICS, image_statistics

SIDE, THRESHOLD = 8, 100.0


def card(**changes):
    job = Job(
        method=Choice(name="mean_grey"), version=1, dataset=Choice(name="made"), category="pill",
        protocol=Choice(name="pooled"),
    )  # fmt: skip
    normal = [image_statistics(pixels(level)) for level in range(40, 80, 2)]
    return ModelCard(**{
        "job": job,
        "record": f"{job.id}-{'f' * 8}",
        "decision": Decision(threshold=THRESHOLD, measured=THRESHOLD, rule="youden", normal=20, anomalous=5),
        "maps": MapRange(side=SIDE, low=0.0, high=255.0),
        "normal_scores": tuple(float(level) for level in range(40, 80, 2)),
        "statistics": {name: tuple(sorted(one[name] for one in normal)) for name in STATISTICS},
        **changes,
    })  # fmt: skip


def write_onnx(file, model_card, offset=0.0, work=0):
    """The graph of an exported file; `work` makes it slow: so many products of large matrices."""
    constants = {
        "offset": np.float32(offset), "axes": np.array([1, 2, 3]), "channel": np.array([3]), "first": np.array([1]),
        "sizes": np.array([1, 1, SIDE, SIDE]), "none": np.array([], np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("ReduceMean", ["pixels", "channel"], ["grey"], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "first"], ["plane"]),
        helper.make_node("Resize", ["plane", "none", "none", "sizes"], ["small"], mode="nearest"),
        helper.make_node("Squeeze", ["small", "first"], ["map"]),
    ]
    last = "mean"
    if work:
        constants["square"] = np.zeros((900, 900), np.float32)
        constants["both"] = np.array([0, 1])
        nodes.append(helper.make_node("Add", ["square", "mean"], ["work0"]))
        nodes += [helper.make_node("MatMul", [f"work{i}", "square"], [f"work{i + 1}"]) for i in range(work)]
        nodes.append(helper.make_node("ReduceMean", [f"work{work}", "both"], ["nothing"], keepdims=0))
        nodes.append(helper.make_node("Add", ["mean", "nothing"], ["worked"]))
        last = "worked"
    nodes.append(helper.make_node("Add", [last, "offset"], ["score"]))
    graph = helper.make_graph(
        nodes, "made",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "height", "width", 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", SIDE, SIDE]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {CARD_KEY: model_card.model_dump_json()})
    aside = file.with_name(f".{file.name}.aside")
    onnx.save(model, aside)
    aside.replace(file)


def promote(results, name="pill", offset=0.0, *, exported=True, work=0, **changes):
    """Promote another version; its number is returned."""
    made = card(**changes)
    version = Promoted(results).promote(Bundle(made, {}), name)
    if exported:
        write_onnx(version.folder / ONNX, made, offset, work)
    return version.version


def pixels(level, width=20, height=16):
    """An image whose mean grey level is exactly that."""
    return np.full((height, width, 3), level, np.uint8)


def png(level, width=20, height=16):
    """The same as a PNG file."""
    return encoded(Image.fromarray(pixels(level, width, height)), "PNG")


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def tensor(*levels):
    """The body of a request of the Open Inference Protocol."""
    images = np.stack([pixels(level) for level in levels])
    inputs = [{"name": "image", "datatype": "UINT8", "shape": list(images.shape), "data": images.reshape(-1).tolist()}]
    return json.dumps({"inputs": inputs})
