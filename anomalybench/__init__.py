"""anomalybench: which method finds the defects in your images.

`run` is the command `anomalybench run` from Python. The other names are what a plugin author needs. Everything is
imported on first use, so that importing the package costs nothing.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomalybench.core.dataset import Dataset, Item
    from anomalybench.core.method import Context, Images, Method, Prediction, Train
    from anomalybench.report.leaderboard import Tables

__version__ = "0.1.0"
__all__ = ["Context", "Dataset", "Images", "Item", "Method", "Prediction", "Train", "run"]

_HOMES = {
    **dict.fromkeys(("Dataset", "Item"), "anomalybench.core.dataset"),
    **dict.fromkeys(("Context", "Images", "Method", "Prediction", "Train"), "anomalybench.core.method"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anomalybench' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def run(
    suite: str | None = None,
    *,
    methods: Sequence[str] = (),
    dataset: str | None = None,
    categories: Sequence[str] = (),
    protocol: str | None = None,
    seeds: Sequence[int] = (),
    threshold: str | None = None,
    explain: int | None = None,
    params: Mapping[str, Any] | None = None,
    group_by: str | None = None,
    data: str | Path | None = None,
    results: str | Path = "results",
    device: str = "auto",
    feature_gb: float = 20.0,
    force: bool = False,
    workers: int = 1,
    cluster: str | None = None,
    shard: str | None = None,
    timeout: float | None = None,
) -> "Tables":
    """Run a suite, or methods on a dataset, and return its leaderboards; what `results` has already is not run again.

    Args:
        suite: A suite's name or YAML file; with neither suite nor dataset, `quickstart`.
        methods: Only these methods.
        dataset: Only this dataset; without a suite, an ad-hoc suite of it.
        categories: Only these categories.
        protocol: `pooled`, `kfold`, `standard`, `few` or `unseen_defect` instead of the suite's.
        seeds: Seeds instead of the suite's.
        threshold: `youden`, `f1`, `fpr`, `normal_quantile` or `fixed` instead of the default.
        explain: On how many defective test images of each job insertion and deletion are measured.
        params: Values by `NAME.PARAMETER`, as in `{"cam.epochs": 5, "kfold.k": 3}`.
        group_by: Regular expression on paths: images that match it alike show one object and are never torn apart.
        data: Folder of the data; by default the environment variable `ANOMALYBENCH_DATA`.
        results: Folder for results.
        device: `auto`, `cpu`, `cuda`, ...
        feature_gb: Most that features of frozen networks may take on the disk; 0 keeps none.
        force: Run everything again.
        workers: Processes side by side on this machine.
        cluster: Address of a Dask scheduler, to run jobs on its workers instead; or `local`, which a script may only
            ask for under `if __name__ == "__main__"`.
        shard: Only part `I/N` of the jobs; the tables are of all that are done.
        timeout: Seconds after which a job has failed.

    Returns:
        Two pandas DataFrames, `leaderboard` and `by_category`. Failed jobs are rows with their error.

    Raises:
        anomalybench.core.errors.AnomalyBenchError: Names, parameters or data that do not fit; nothing was run.
    """
    from anomalybench.bench import executors, settings
    from anomalybench.bench.external import PREFIX
    from anomalybench.bench.store import Store
    from anomalybench.bench.suite import Request, load
    from anomalybench.core import places
    from anomalybench.report import leaderboard

    where, params = places.data(data), params or {}
    request = Request(suite, methods, dataset, categories, protocol, seeds, threshold, explain, params, group_by, where)
    loaded, store = load(request), Store(Path(results))
    (how := settings.Settings(device, feature_gb, timeout, workers, cluster)).check_device()
    store.check_writable()
    todo = executors.plan(settings.shard(loaded.jobs, shard), store, where, force=force)
    records = executors.records(loaded.jobs, list(executors.run(todo, store, how)), store)
    records += store.beside(loaded.jobs, f"{PREFIX}*")
    tables = leaderboard.build(records, store.resample(r.job for r in records))
    leaderboard.write(tables, store.results, loaded.name)
    return tables
