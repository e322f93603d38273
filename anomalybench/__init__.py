"""anomalybench: which method finds the defects in your images.

`run` is the command `anomalybench run` from Python, and `load_model` gives what `anomalybench predict` uses. The other
names are what a plugin author needs. Everything is imported on first use, so that importing the package costs nothing.
"""

import dataclasses
import importlib
import inspect
import sys
import warnings
from typing import TYPE_CHECKING, Any, get_type_hints

from anomalybench.bench.request import Request
from anomalybench.bench.request import options as request_options

if TYPE_CHECKING:
    from anomalybench.core.dataset import Dataset, Item
    from anomalybench.core.method import Context, Graph, Images, Input, Method, Prediction, Train, WeightsSource
    from anomalybench.deploy.loading import load_model
    from anomalybench.report.leaderboard import Tables

__version__ = "0.2.0.dev0"
__all__ = [
    "Context", "Dataset", "Graph", "Images", "Input", "Item", "Method", "Prediction", "Train", "WeightsSource",
    "load_model", "run",
]  # fmt: skip

_HOMES = {
    **dict.fromkeys(("Dataset", "Item"), "anomalybench.core.dataset"),
    **dict.fromkeys(
        ("Context", "Graph", "Images", "Input", "Method", "Prediction", "Train", "WeightsSource"),
        "anomalybench.core.method",
    ),
    "load_model": "anomalybench.deploy.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anomalybench' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def run(suite: str | None = None, *, progress: bool | None = None, **options: Any) -> "Tables":
    """Run a suite, or methods on a dataset, and return its leaderboards; what `results` has already is not run again.

    The options are those of `anomalybench run`: for example `run(methods=["cam", "fcdd"], data="my_images",
    protocol="kfold", params={"cam.epochs": 5})`. A list may be written as a text with commas.

    Args:
        suite: A suite's name or YAML file; without it, and with neither dataset nor data, `quickstart`.
        progress: Write a line for each finished job to standard error; by default where that is a terminal.
        options: See the signature, and `anomalybench run --help`.

    Returns:
        Two pandas DataFrames, `leaderboard` and `by_category`. Failed jobs are rows with their error, and warned of.

    Raises:
        anomalybench.core.errors.AnomalyBenchError: Names, parameters or data that do not fit; nothing was run.
    """
    from anomalybench.bench.session import Session
    from anomalybench.report import outputs

    session = Session(Request.of({"suite": suite, **options}))
    shown = sys.stderr.isatty() if progress is None else progress
    plan, finished = session.plan(), []
    for remark in session.remarks() if shown else ():
        print(remark, file=sys.stderr)
    for item in session.run(plan):
        finished.append(item)
        if shown:
            print(item, file=sys.stderr, flush=True)
    failed = [item for item in finished if item.record.status == "failed"]
    for reason in dict.fromkeys(str(item.record.error) for item in failed):
        jobs = [str(item.job) for item in failed if str(item.record.error) == reason]
        warnings.warn(f"{len(jobs)} of {len(finished)} jobs failed: {', '.join(jobs[:3])}: {reason}", stacklevel=2)
    results = session.results(finished)
    tables = outputs.tables_of(results, session.store)
    outputs.write(session.suite.name, tables, results, session.store, add=session.suite.own)
    session.keep_best(results)
    return tables


def _signature() -> inspect.Signature:
    """That of `run`, with the options of a request."""
    first, progress, _, *_ = inspect.signature(run).parameters.values()
    kinds = get_type_hints(Request)
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default={} if one.default is dataclasses.MISSING else one.default,
            annotation=kinds[one.name],
        )
        for one in dataclasses.fields(Request)
        if one.name != "suite"
    ]
    return inspect.Signature([first, progress, *options], return_annotation="Tables")


run.__signature__ = _signature()  # type: ignore[attr-defined]
run.__doc__ = f"{run.__doc__}\n    Options:\n" + "".join(
    f"        {name}: {option.help}\n" for name, option in request_options().items() if name != "suite"
)
