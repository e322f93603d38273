"""Plugins of third parties: found, checked, told apart, and shown no more than their supervision allows."""

import hashlib
import json

import pandas as pd
import pytest

from anomalybench.core import parameters, registry
from anomalybench.core.errors import UsageError
from anomalybench.datasets.synthetic import Synthetic
from anomalybench.testing import check_dataset, check_method
from anomalybench.vision.images import read_rgb

METHOD = '''
"""A method."""
from dataclasses import dataclass
import numpy as np
from anomalybench import Method, Prediction
{imports}

@dataclass
class Constant(Method):
    """Knows nothing."""
    learns_from = "nothing"
    def fit(self, train, context): pass
    def predict(self, images): return Prediction(np.zeros(len(images)))
{more}
'''

SPY = '''
"""Writes down what it is given to fit."""
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
import numpy as np
from pydantic import Field
from anomalybench import Method, Prediction

@dataclass
class Spy(Method):
    """Scores by the first pixel."""
    learns_from = "{supervision}"
    out: Annotated[str, Field(description="file to write")] = ""

    def fit(self, train, context):
        seen = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() for image in train.images]
        labels = None if train.labels is None else [int(label) for label in train.labels]
        masks = None if train.masks is None else [mask is not None and bool(mask.any()) for mask in train.masks]
        with Path(self.out).open("a") as file:
            print(json.dumps([seen, labels, masks]), file=file)

    def predict(self, images):
        return Prediction(np.array([float(image[0, 0, 0]) for image in images]))
'''


def plugin(imports="", more=""):
    return METHOD.format(imports=imports, more=more)


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "name", "built_in"), [("methods", "brightest", "cam"), ("datasets", "stripes", "elpv")]
)
def test_an_installed_plugin_is_listed_beside_ours(acme, cli_process, kind, name, built_in):
    result = cli_process("list", kind)
    assert result.exit_code == 0
    assert name in result.stdout.split()
    assert built_in in result.stdout.split()


def test_an_installed_plugin_runs(acme, cli_process, tmp_path):
    result = cli_process("run", "--no-floors", "--methods", "brightest", "--dataset", "stripes", "--results", tmp_path)
    assert result.exit_code == 0, result.text
    jobs = pd.read_csv(tmp_path / "leaderboards" / "stripes_by_category.csv")
    assert list(jobs["category"]) == ["fine", "wide"]
    assert set(jobs["status"]) == {"ok"}
    assert set(jobs["auroc"]) == {1.0}


def test_an_installed_plugin_keeps_the_contracts(acme):
    check_method("brightest")
    check_dataset(parameters.build(registry.dataset("stripes"), "stripes", {"n": 5}))


PROTOCOL = '''
"""Every n-th image is tested: a protocol of a third party."""
from dataclasses import dataclass
from typing import Annotated
from pydantic import Field
from anomalybench.core.protocol import Protocol, Split

@dataclass(frozen=True)
class EveryNth(Protocol):
    """One split for each of n places."""
    n: Annotated[int, Field(ge=3, description="images from one test image to the next")] = 4

    def folds(self, items):
        return [str(i) for i in range(self.n)]

    def split(self, items, seed, fold):
        units = sorted(items, key=lambda item: item.path)
        parts = [tuple(units[(int(fold) + i) % self.n :: self.n]) for i in range(self.n)]
        return Split(tuple(item for part in parts[2:] for item in part), parts[1], parts[0])
'''
DRAWN = ["synthetic", "--categories", "disc", "--set", "synthetic.n_normal=12", "--set", "synthetic.n_anomalous=12"]


@pytest.mark.parametrize(("options", "n"), [([], 4), (["--set", "every_nth.n=3"], 3)])
def test_a_protocol_of_a_third_party_is_run_by_its_name(acme, make_plugin, cli, tmp_path, options, n):
    make_plugin(protocols={"every_nth": PROTOCOL})
    what = ["--methods", "brightest", "--no-floors", "--protocol", "every_nth", *options]
    result = cli("run", *what, "--dataset", *DRAWN, "--results", tmp_path)
    assert result.exit_code == 0, result.text
    jobs = pd.read_csv(tmp_path / "leaderboards" / "synthetic_by_category.csv")
    assert list(jobs["fold"]) == list(range(n))
    assert set(jobs["protocol"]) == {"every_nth"}
    assert jobs["n_test"].sum() == 24, "each image is tested once"
    assert "every_nth" in (tmp_path / "reports" / "synthetic.html").read_text()


def test_a_protocol_of_a_third_party_is_listed_shown_and_splits_data(make_plugin, cli, tmp_path):
    make_plugin(protocols={"every_nth": PROTOCOL})
    assert {"every_nth", "pooled"} <= set(cli("list", "protocols").stdout.split())
    assert "every_nth.n" in cli("show", "every_nth").stdout
    out = tmp_path / "split.csv"
    result = cli("data", "split", *DRAWN, "--protocol", "every_nth", "--out", out)
    assert result.exit_code == 0, result.text
    assert pd.read_csv(out).groupby(["fold", "split"]).size().to_dict() == {
        (fold, part): count for fold in range(4) for part, count in (("train", 12), ("calibration", 6), ("test", 6))
    }


@pytest.mark.parametrize(
    "options", [["--protocol", "every_mth"], ["--protocol", "every_nth", "--set", "every_nth.n=2"]]
)
def test_slips_in_a_protocol_of_a_third_party_are_named(make_plugin, cli, options):
    make_plugin(protocols={"every_nth": PROTOCOL})
    cli("run", "--methods", "random", "--dataset", *DRAWN, *options, "--dry-run").assert_refused("every_nth")


def test_a_name_used_twice_is_refused(make_plugin, cli):
    package = make_plugin(methods={"cam": plugin()})
    result = cli("list", "methods")
    assert result.exit_code == 2
    assert f"{package}.methods.cam" in result.text
    assert "anomalybench.methods.cam" in result.text


def test_a_file_with_two_methods_is_refused(make_plugin, cli):
    make_plugin(methods={"twins": plugin(more="class Second(Constant): pass")})
    result = cli("show", "twins")
    assert result.exit_code == 2
    assert "exactly one public Method, found 2" in result.text


@pytest.mark.parametrize(("package", "library"), [("hidden_a", "no_such_lib"), ("spamlib_anomaly", "spamlib")])
def test_a_missing_library_gives_the_pip_command(make_plugin, cli, package, library):
    make_plugin(methods={"needy": plugin(imports=f"import {library}.part")}, package=package)
    assert "needy" in cli("list", "methods").stdout
    result = cli("run", "--methods", "needy", "--dataset", "synthetic", "--dry-run")
    assert result.exit_code == 2
    assert f"pip install {library.replace('_', '-')}" in result.text


@pytest.mark.parametrize("line", ["from json import no_such", "from . import no_such", "import numpy.no_such"])
def test_an_import_error_inside_the_plugin_is_raised_as_it_is(make_plugin, line):
    make_plugin(methods={"broken": plugin(imports=line)})
    with pytest.raises(ImportError, match="no_such"):
        registry.method("broken")


def test_a_missing_sibling_is_not_taken_for_a_library(make_plugin):
    package = make_plugin(methods={"broken": plugin(imports="from ._gone import x")})
    with pytest.raises(ModuleNotFoundError, match=rf"{package}\.methods\._gone"):
        registry.method("broken")


@pytest.fixture
def broken_package(on_path, tmp_path):
    """An installed package whose entry points lead nowhere."""
    info = tmp_path / "site-gone" / "gone-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1\n")
    points = ["[anomalybench.methods]\ngone = gone.methods\n", "[anomalybench.datasets]\nplain = this\n"]
    (info / "entry_points.txt").write_text("\n".join(points))
    on_path(info.parent)


def test_a_package_that_cannot_be_imported_is_named_and_the_others_are_there(acme, broken_package, cli):
    assert {"brightest", "cam"} <= set(registry.plugins("methods"))
    (trouble,) = registry.broken("methods")
    assert "'gone' are missing: gone.methods cannot be imported (ModuleNotFoundError" in trouble
    (trouble,) = registry.broken("datasets")
    assert "not a package" in trouble
    small = ["--dataset", "synthetic", "--categories", "tablet", "--set", "synthetic.n_normal=8"]
    assert cli("run", "--methods", "brightest", *small, "--dry-run").exit_code == 0
    with pytest.raises(UsageError, match=r"unknown method 'mine'.*gone\.methods cannot be imported"):
        registry.method("mine")


@pytest.mark.parametrize("content", [b'"""M\xe9thode."""\n', b'"""A method."""\n\0', b"def :"])
def test_a_file_that_is_not_python_is_refused_when_it_is_asked_for(make_plugin, tmp_path, content):
    package = make_plugin(methods={"odd": plugin(), "even": plugin()})
    (tmp_path / f"site-{package}" / package / "methods" / "odd.py").write_bytes(content)
    found = registry.plugins("methods")
    assert found["odd"].summary.startswith("cannot be read")
    assert found["even"].summary == "A method."
    assert registry.method("even").__name__ == "Constant"
    with pytest.raises(UsageError, match=rf"method 'odd' cannot be read.*{package}\.methods\.odd"):
        registry.method("odd")


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="Did you mean 'methods'"):
        registry.plugins("method")


def test_the_contract_takes_a_class_too(acme):
    check_method(registry.method("brightest"))


@pytest.mark.parametrize(
    ("given", "hint"),
    [(3, "derives from"), (dict, "derives from"), (None, "derives from"), ("an instance", "pass its class")],
)
def test_the_contract_says_what_it_takes(acme, given, hint):
    with pytest.raises(UsageError, match=f"name or its class.*{hint}"):
        check_method(registry.method("brightest")() if given == "an instance" else given)


def test_the_contract_names_a_missing_supervision(make_plugin):
    make_plugin(methods={"silent": plugin().replace('learns_from = "nothing"', "")})
    with pytest.raises(AssertionError, match="say what it learns from"):
        check_method("silent")


def test_the_contract_finds_scores_that_count_calls(make_plugin):
    counting = plugin(more="").replace("np.zeros(len(images))", "self.count(len(images))")
    counting += """
    calls = 0
    def count(self, n):
        start, self.calls = self.calls, self.calls + n
        return np.arange(start, start + n, dtype=float)
"""
    make_plugin(methods={"counting": counting})
    with pytest.raises(AssertionError, match="depend on the batch"):
        check_method("counting")


def test_an_unknown_method_is_a_usage_error_for_callers_too(acme):
    with pytest.raises(UsageError, match="Did you mean 'brightest'"):
        registry.method("brigthest")


@pytest.fixture
def truth():
    """Every image that the spy's data set holds, by the hash of its pixels."""
    dataset = Synthetic(n_normal=12, n_anomalous=12)
    root = dataset.root(None)
    items = {digest(read_rgb(root / item.path)): item for item in dataset.load(root, "disc")}
    assert len(items) == 24
    return items


@pytest.mark.parametrize("protocol", ["pooled", "kfold"])
@pytest.mark.parametrize("supervision", ["nothing", "normals", "labels", "masks"])
def test_a_method_sees_what_its_supervision_allows_and_no_more(
    make_plugin, cli, tmp_path, truth, supervision, protocol
):
    make_plugin(methods={"spy": SPY.format(supervision=supervision)})
    out = tmp_path / "fits.txt"
    small = ["--categories", "disc", "--set", "synthetic.n_normal=12", "--set", "synthetic.n_anomalous=12"]
    cut = ["--protocol", protocol, *(["--set", "kfold.k=2"] if protocol == "kfold" else [])]
    result = cli(
        "run", "--no-floors", "--methods", "spy", "--dataset", "synthetic", *small, *cut, "--set", f"spy.out={out}",
        "--results", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.text
    fits = [json.loads(line) for line in out.read_text().splitlines()]
    jobs = sorted((json.loads(file.read_text())["job"]["fold"], file.parent) for file in tmp_path.rglob("record.json"))
    assert len(fits) == len(jobs) == (2 if protocol == "kfold" else 1)
    for (seen, labels, masks), (_, folder) in zip(fits, jobs, strict=True):
        hidden = set(pd.read_parquet(folder / "scores.parquet")["path"])
        train = {key: item for key, item in truth.items() if item.path not in hidden}
        assert {item.label for item in train.values()} == {0, 1}
        allowed = {"nothing": [], "normals": [k for k, i in train.items() if i.label == 0]}.get(supervision, train)
        assert sorted(seen) == sorted(allowed)
        real = [truth[key] for key in seen]
        assert labels == ([item.label for item in real] if supervision in ("labels", "masks") else None)
        assert masks == ([item.mask is not None for item in real] if supervision == "masks" else None)
