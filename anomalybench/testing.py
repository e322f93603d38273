"""The contracts of methods and datasets as checks, for our plugins and for strangers'.

    from anomalybench.testing import check_method
    def test_mine(): check_method(Mine)  # or check_method("mine"), once it is installed

Each check raises AssertionError with the broken clause of the contract.
"""

import inspect
from pathlib import Path
from typing import Any, get_args

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from anomalybench.core import parameters, registry
from anomalybench.core.dataset import ANOMALOUS, NORMAL, Dataset
from anomalybench.core.errors import UsageError
from anomalybench.core.method import Context, Images, Method, Prediction, Supervision, Train, batch_dependence
from anomalybench.datasets.synthetic import Synthetic
from anomalybench.deploy import bundle
from anomalybench.evaluate.image import auroc
from anomalybench.vision.file_checks import check_files
from anomalybench.vision.images import ImageFiles, read_mask, read_rgb, stack

CATEGORY = "tablet"
GRAPH_TOLERANCE = 1e-3
"""How far a graph's results may be from those of `predict`, as a share of the greatest."""


def check_method(method: str | type[Method]) -> None:
    """Check every clause of the method contract with the method's `smoke` parameters on procedural images.

    Defaults construct; unknown parameters are refused; every parameter is described; the same seed gives the same
    scores, whatever torch's global generator does; scores are finite, one per image and independent of the batch; maps
    have the input's shape; anomalous images score higher than normal ones more often than by chance; a saved method
    gives the same scores after loading. Where a method has a graph, its network gives the scores and maps of `predict`,
    for one picture as for many.

    Args:
        method: Name of an installed method, or its class.

    Raises:
        UsageError: It is neither.
    """
    cls, name = _class_and_name(method)
    _check_parameters(cls, name)
    train, test, labels = _images(cls, name)
    fitted, prediction = _fit(cls, name, train, test)
    _check_prediction(fitted, prediction, len(test))
    _, again = _fit(cls, name, train, test)
    assert np.array_equal(prediction.scores, again.scores), f"{name}: the same seed gives other scores"
    moved = batch_dependence(fitted, test[:4], prediction.scores[:4])
    assert moved <= 1e-3, f"{name}: scores depend on the batch: alone they differ by {moved:.2g} of their range"
    reached = auroc(prediction.scores, labels)
    floor = 0.0 if fitted.supervision() == "nothing" else 0.6
    assert reached > floor, f"{name}: ROC AUC {reached:.2f} on procedural images; higher scores must mean anomalous"
    _check_saved(cls, name, fitted, test, prediction)
    _check_graph(name, fitted, test, prediction)


def check_dataset(dataset: Dataset, data: Path | None = None) -> None:
    """Check every clause of the dataset contract on all categories.

    Categories are sorted and unique; items lie in their category, with normal ones among them; paths are relative, with
    forward slashes; files and masks exist and are of one size; asking twice gives the same.
    """
    assert dataset.source, "source says where to get the data and under which licence"
    root = dataset.root(data)
    categories = dataset.categories(root)
    assert categories == sorted(set(categories)), "categories are sorted and unique"
    assert categories, "there is a category"
    for category in categories:
        items = dataset.load(root, category)
        assert items == dataset.load(root, category), f"{category}: asking twice gives the same items"
        check_files(root, items)
        assert {item.category for item in items} == {category}, f"{category}: items of another category"
        for item in items:
            assert not Path(item.path).is_absolute(), f"{item.path}: paths are relative to the root"
            assert "\\" not in item.path, f"{item.path}: paths have forward slashes"
            assert (item.label == NORMAL) == (item.defect == "good"), f"{item.path}: only normal items are `good`"
            assert item.label in (NORMAL, ANOMALOUS), f"{item.path}: labels are 0 and 1"
            if item.mask is not None:
                shape = read_rgb(root / item.path).shape[:2]
                assert read_mask(root / item.mask).shape == shape, f"{item.mask}: mask and image differ in size"


def _class_and_name(method: object) -> tuple[type[Method], str]:
    if isinstance(method, str):
        return registry.method(method), method
    if isinstance(method, type) and issubclass(method, Method):
        return method, method.__name__
    hint = "pass its class" if isinstance(method, Method) else "a method's class derives from anomalybench.Method"
    raise UsageError(f"check_method takes a method's name or its class, not {method!r}: {hint}.")


def _check_parameters(cls: type[Method], name: str) -> None:
    parameters.build(cls, name, {})
    smoke = parameters.build(cls, name, cls.smoke)
    try:
        parameters.build(cls, name, {"no_such_parameter": 1})
    except UsageError:
        pass
    else:
        raise AssertionError(f"{name}: unknown parameters must be refused")
    for row in parameters.table(cls):
        assert row.description, f"{name}.{row.name}: describe it, as in Annotated[int, Field(description='...')]"
    kinds = get_args(Supervision)
    assert getattr(smoke, "learns_from", None) in kinds or type(smoke).supervision is not Method.supervision, (
        f"{name}: say what it learns from, as in learns_from = 'normals'; known: {', '.join(kinds)}"
    )
    assert smoke.supervision() in kinds, f"{name}.supervision() must return one of {', '.join(kinds)}"
    smoke.check()
    assert inspect.getdoc(inspect.getmodule(cls)), f"{name}: the module's docstring says what the method is"


def _images(cls: type[Method], name: str) -> tuple[Train, Images, NDArray[np.int64]]:
    """What the method may see of 24 train images, and 24 test images with their labels."""
    dataset = Synthetic(n_normal=24, n_anomalous=24)
    root = dataset.root(None)
    items = dataset.load(root, CATEGORY)
    normal = [item for item in items if item.label == NORMAL]
    anomalous = [item for item in items if item.label == ANOMALOUS]
    train, test = normal[::2] + anomalous[::2], normal[1::2] + anomalous[1::2]
    supervision = parameters.build(cls, name, cls.smoke).supervision()
    seen = {"nothing": [], "normals": normal[::2]}.get(supervision, train)
    labels = np.array([item.label for item in seen], np.int64) if supervision in ("labels", "masks") else None
    masks = [None if item.mask is None else read_mask(root / item.mask) for item in seen]
    return (
        Train(ImageFiles([root / item.path for item in seen]), labels, masks if supervision == "masks" else None),
        ImageFiles([root / item.path for item in test]),
        np.array([item.label for item in test], np.int64),
    )


def _fit(cls: type[Method], name: str, train: Train, test: Images) -> tuple[Method, Prediction]:
    method = parameters.build(cls, name, cls.smoke)
    method.fit(train, Context(seed=3))
    return method, method.predict(test)


def _check_prediction(method: Method, prediction: Prediction, n: int) -> None:
    assert prediction.scores.shape == (n,), "one score per image"
    assert np.isfinite(prediction.scores).all(), "scores are finite"
    if prediction.maps is None:
        return
    size = getattr(method, "size", prediction.maps.shape[-1])
    assert prediction.maps.shape == (n, size, size), f"maps are {n} x size x size"
    assert np.isfinite(prediction.maps).all(), "maps are finite"


def _check_saved(cls: type[Method], name: str, fitted: Method, test: Images, prediction: Prediction) -> None:
    state = fitted.state()
    assert bundle.unfit(state) is None, f"{name}: {bundle.unfit(state)}"
    kept = {key: values.copy(order="C") for key, values in state.items()}
    loaded = parameters.build(cls, name, cls.smoke)
    loaded.restore(safetensors.numpy.load(safetensors.numpy.save(kept)), Context(seed=4))
    assert np.array_equal(loaded.predict(test).scores, prediction.scores), f"{name}: a loaded method scores otherwise"


def _check_graph(name: str, fitted: Method, test: Images, prediction: Prediction) -> None:
    try:
        graph = fitted.graph()
    except UsageError:
        return  # optional
    assert graph.side == fitted.input().side, f"{name}: pictures of the graph have the side that input() names"
    for n in (1, len(test)):
        output = graph.network(stack(test[:n], graph.side).float())
        scores, maps = output if isinstance(output, tuple) else (output, None)
        assert (maps is None) == (prediction.maps is None), f"{name}: the graph has maps where predict has them"
        _check_near(f"{name}: scores of the graph, {n} pictures", scores.numpy(), prediction.scores[:n])
        if maps is not None and prediction.maps is not None:
            _check_near(f"{name}: maps of the graph, {n} pictures", maps.numpy(), prediction.maps[:n])


def _check_near(what: str, found: NDArray[np.float32], expected: NDArray[np.floating[Any]]) -> None:
    assert found.shape == expected.shape, f"{what}: shape {found.shape} instead of {expected.shape}"
    assert found.dtype == np.float32, f"{what}: float32, not {found.dtype}"
    apart = np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30)
    assert apart <= GRAPH_TOLERANCE, f"{what}: they differ from predict's by {apart:.2g} of the greatest"
