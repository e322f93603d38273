"""Commands that derive tables and pictures from finished jobs; nothing is run."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, ResultsOption, SuiteArgument

if TYPE_CHECKING:
    from anomalybench.bench.store import Store
    from anomalybench.core.job import Record


def leaderboard(suite: SuiteArgument = None, data: DataOption = None, results: ResultsOption = RESULTS) -> None:
    """Make a suite's leaderboards from the records in the results folder; without a suite, one of all records."""
    from anomalybench.bench.store import Store
    from anomalybench.core.errors import StoreError
    from anomalybench.report import leaderboard as report

    gc.disable()  # a seventh of the time with thousands of records; the process ends soon
    store = Store(results)
    if suite is None:
        name, records, missing = "all", store.records(), 0
    else:
        from anomalybench.bench.external import PREFIX  # loads torch

        name, records, missing = finished(store, suite, data)
        records += store.beside([record.job for record in records], f"{PREFIX}*")
    if not records:
        raise StoreError(f"{results} holds no results{f' of suite {suite}' if suite else ''}. Run some first.")
    tables = report.build(records, store.resample(record.job for record in records))
    files = report.write(tables, results, name)
    console.print_leaderboard(tables.leaderboard)
    if missing:
        console.console().print(f"{missing} of the suite's jobs have not been run.")
    console.print_files(files)


def figures(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE or RUN]...", help="Suites, or jobs by the beginning of their id."),
    ] = None,
    data: DataOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Draw heat maps, histograms, ROC curves and confusion matrices of finished jobs; by default of all there are."""
    from anomalybench.bench.store import Store
    from anomalybench.core import places
    from anomalybench.report import figures as report

    store = Store(results)
    records = chosen(store, wanted or [], places.data(data), finished=True)
    files = [file for record in records for file in report.draw(record, store)]
    console.console().print(f"{len(files)} figures of {len(records)} jobs.")
    console.print_files([results / "figures"])


def compare(
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="As in the leaderboard; by default all there are.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="A metric that has intervals, as in the leaderboard by category.")
    ] = "auroc",
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only this protocol.")] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Compare methods on the same test images: differences with intervals, p-values, and what you may conclude.

    Two methods are compared by category and on the whole; more get their mean ranks and a diagram as well.
    """
    from anomalybench.bench.store import Store
    from anomalybench.report import verdicts

    store = Store(results)
    found = verdicts.grounds(store, dataset, protocol, methods or [], metric)
    for ground in found:
        console.print_ground(ground)
    console.print_files([file for ground in found for file in verdicts.draw(ground, results)])


def finished(store: "Store", suite: str, data: Path | None) -> "tuple[str, list[Record], int]":
    """Name of a suite, the records of its jobs, and how many of these are missing."""
    from anomalybench.bench.suite import Request, load
    from anomalybench.core import places

    loaded = load(Request(suite=suite, data=places.data(data)))
    found = [store.get(job) for job in loaded.jobs]
    records = [record for record in found if record is not None]
    return loaded.name, records, len(found) - len(records)


def chosen(store: "Store", wanted: list[str], data: Path | None, *, finished: bool) -> "list[Record]":
    """Jobs of the store: all, or those of the suites and with the ids that are named; if `finished`, only status ok."""
    from anomalybench.bench import suite
    from anomalybench.core.errors import StoreError, unknown
    from anomalybench.core.job import EXTERNAL

    records = [record for record in store.records() if record.status == "ok" or not finished]
    ids: set[str] = set()
    for name in wanted:
        found = [record.job.id for record in records if name and record.job.id.startswith(name)]
        if not found:
            if name not in suite.names() and not name.endswith((".yaml", ".yml")):
                raise unknown("suite or job", name, [*suite.names(), *(r.job.id for r in records)])
            jobs = suite.load(suite.Request(suite=name, data=data)).jobs
            found = [*(job.id for job in jobs), *(record.job.id for record in store.beside(jobs, f"{EXTERNAL}*"))]
        ids.update(found)
    picked = [record for record in records if not wanted or record.job.id in ids]
    if not picked:
        kind = "finished job" if finished else "job"
        raise StoreError(f"{store.results} holds no {kind}{' of these' if wanted else ''}. Run some first.")
    return picked
