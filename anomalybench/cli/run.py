"""Commands that make results: `run` from methods, `score` from another tool's scores."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console, options, page

if TYPE_CHECKING:
    from anomalybench.bench.executors import Finished, Plan
    from anomalybench.bench.settings import Settings
    from anomalybench.bench.store import Store
    from anomalybench.bench.suite import Request, Suite
    from anomalybench.core.job import Record


def run(
    suite: options.SuiteArgument = None,
    methods: Annotated[str, typer.Option(help="Methods, separated by commas.")] = "",
    dataset: options.DatasetOption = None,
    categories: options.CategoriesOption = "",
    protocol: options.ProtocolOption = None,
    seeds: options.SeedsOption = "",
    threshold: options.ThresholdOption = None,
    explain: options.ExplainOption = None,
    settings: options.SettingsOption = None,
    group_by: options.GroupByOption = None,
    data: options.DataOption = None,
    results: options.ResultsOption = options.RESULTS,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    feature_gb: options.FeatureStoreOption = 20.0,
    force: Annotated[bool, typer.Option("--force", help="Run again what is already done.")] = False,
    workers: options.WorkersOption = 1,
    cluster: options.ClusterOption = None,
    part: options.ShardOption = None,
    timeout: options.TimeoutOption = None,
    open_: options.OpenOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the suite, print the jobs, run nothing.")] = False,
) -> None:
    """Run methods on images and write leaderboards. Without a suite or dataset: [b]quickstart[/b].

    What is done already is not run again. Exit code 0: all went well, 1: a job failed, 2: bad input, named.
    """
    from anomalybench.bench.settings import Settings, shard
    from anomalybench.bench.suite import Request, load
    from anomalybench.core import places

    request = Request(
        suite=suite, methods=options.split(methods), dataset=dataset, categories=options.split(categories),
        protocol=protocol, seeds=options.seeds(seeds), threshold=threshold, explain=explain,
        params=options.settings(settings), group_by=group_by, data=places.data(data),
    )  # fmt: skip
    loaded, how = load(request), Settings(device, feature_gb, timeout, workers, cluster)
    if dry_run:
        console.print_jobs(shard(loaded.jobs, part))
    else:
        _run(loaded, request, results, how, part, force=force, open_=open_)


def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet file with the columns path and score.")],
    name: Annotated[str, typer.Option(help="What the tables call it: external:NAME.")],
    suite: options.SuiteOption = None,
    dataset: options.DatasetOption = None,
    categories: options.CategoriesOption = "",
    protocol: options.ProtocolOption = None,
    seeds: options.SeedsOption = "",
    threshold: options.ThresholdOption = None,
    settings: options.SettingsOption = None,
    group_by: options.GroupByOption = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder of anomaly maps: that of a/b.png is a/b.npy, a/b.tiff or a/b.tif.")
    ] = None,
    learns_from: Annotated[
        str | None, typer.Option(metavar="nothing|normals|labels|masks", help="What the tool was trained on, if known.")
    ] = None,
    data: options.DataOption = None,
    results: options.ResultsOption = options.RESULTS,
) -> None:
    """Measure scores that another tool made, on the same split and with the same thresholds and metrics as methods.

    Paths are relative to the dataset's folder. Train the tool on the train part alone: `data split` writes it down.
    """
    from anomalybench.bench import external
    from anomalybench.bench.store import Store
    from anomalybench.bench.suite import Request, load
    from anomalybench.core import places
    from anomalybench.core.errors import UsageError

    if suite is None and dataset is None:
        raise UsageError("score: name the images, as in --dataset mvtec_ad or --suite quickstart.")
    request = Request(
        suite=suite, dataset=dataset, categories=options.split(categories), protocol=protocol,
        seeds=options.seeds(seeds), threshold=threshold, params=options.settings(settings), group_by=group_by,
        data=places.data(data),
    )  # fmt: skip
    store, loaded = Store(results), load(request, external.choice(name))
    store.check_writable()
    for outcome in external.outcomes(loaded.jobs, request.data, file, maps, learns_from):
        store.put(outcome)
    _write_tables(loaded.name, store.beside(loaded.jobs), store)


def _run(
    suite: "Suite",
    request: "Request",
    results: Path,
    settings: "Settings",
    part: str | None,
    *,
    force: bool,
    open_: bool,
) -> None:
    from anomalybench.bench import executors
    from anomalybench.bench.external import PREFIX
    from anomalybench.bench.settings import shard
    from anomalybench.bench.store import Store

    store, jobs = Store(results), shard(suite.jobs, part)
    settings.check_device()
    store.check_writable()
    todo = executors.plan(jobs, store, request.data, force=force)
    finished = _follow(todo, store, settings)
    records = [*executors.records(suite.jobs, finished, store), *store.beside(jobs, f"{PREFIX}*")]
    _write_tables(suite.name, records, store)
    page.write_after_run(suite.name, records, store, open_=open_)
    for item in finished:
        for note in item.record.notes:
            console.warn(f"{item.job}: {note}")
    failed = [f for f in finished if f.record.status == "failed"]
    for job in failed:
        console.console(stderr=True).print(
            f"[bold red]Failed:[/] {console.plain(job.job)}: {console.plain(job.record.error)}", soft_wrap=True
        )
    if failed:
        sys.exit(2 if all(f.record.bad_input for f in failed) else 1)


def _follow(todo: "Plan", store: "Store", settings: "Settings") -> "list[Finished]":
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems send it first: as Ctrl-C
    try:
        return console.follow(todo, store, settings)
    except KeyboardInterrupt:
        done = sum(store.get(job) is not None for job in todo.jobs)
        console.console(stderr=True).print(
            f"\nInterrupted with {done} of {len(todo.jobs)} jobs done. The same command goes on."
        )
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _write_tables(name: str, records: "list[Record]", store: "Store") -> None:
    from anomalybench.report import leaderboard as report

    tables = report.build(records, store.resample(record.job for record in records))
    console.print_leaderboard(tables.leaderboard)
    console.print_files([*report.write(tables, store.results, name), store.runs])
