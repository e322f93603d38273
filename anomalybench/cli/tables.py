"""Commands that derive tables and pictures from finished jobs; nothing is run."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, ResultsOption, SuiteArgument, WantedArgument

if TYPE_CHECKING:
    from anomalybench.bench.session import Session
    from anomalybench.bench.store import Store
    from anomalybench.core.errors import StoreError
    from anomalybench.core.record import Record, Result


def leaderboard(suite: SuiteArgument = None, data: DataOption = None, results: ResultsOption = RESULTS) -> None:
    """Make leaderboards from the results folder: of a suite, of a run by its name, or of all there is."""
    from anomalybench.bench.store.selection import Selection
    from anomalybench.core.record import results_of
    from anomalybench.report import naming, outputs, remarks

    gc.disable()  # a seventh of the time with thousands of records; the process ends soon
    store = existing(results)
    name, missing = suite or "all", 0
    if suite is None:
        found = [result for record in store.records() for result in results_of(record)]
    elif not (found := Selection(store, suite).read()):
        name, found, missing = stored(store, suite, data)
    if not found:
        raise _nothing(store, f"no results{f' of {suite}' if suite else ''}")
    tables = outputs.tables_of(found, store)
    console.print_leaderboard(tables.leaderboard, tables.by_category)
    for remark in filter(None, (naming.remark_on_images(found), *(remarks.left_out(store) if suite is None else []))):
        console.warn(remark)
    if missing:
        console.remark(f"{missing} of the suite's jobs have not been run.")
    console.print_files(outputs.write(name, tables, found, store))


def figures(wanted: WantedArgument = None, data: DataOption = None, results: ResultsOption = RESULTS) -> None:
    """Draw heat maps, histograms, ROC curves and confusion matrices of finished jobs; by default of all there are."""
    from anomalybench.core import places
    from anomalybench.core.errors import StoreError
    from anomalybench.report import figures as report
    from anomalybench.report import remarks

    store, folder = existing(results), places.data(data)
    found = chosen(store, wanted or [], folder, finished=True)
    drawn = report.draw_all(found, store, folder)
    for remark in remarks.left_out(store) if not wanted else []:
        console.warn(remark)
    for job, reason in drawn.lost.items():
        console.warn(f"{job}: no figures ({reason})")
    if not drawn.files:
        raise StoreError(f"no figures could be drawn of {len(found)} results; the reasons are above.")
    console.remark(f"{len(drawn.files)} figures of {len(found) - len(drawn.lost)} results.")
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
    from anomalybench.core.record import results_of
    from anomalybench.report import naming, remarks, verdicts

    store = existing(results)
    found = verdicts.comparisons(store, dataset, protocol, methods or [], metric)
    for comparison in found:
        console.print_comparison(comparison)
    there = [result for record in store.records() for result in results_of(record)]
    for remark in filter(None, (naming.remark_on_images(there), *remarks.left_out(store))):
        console.warn(remark)
    console.print_files([file for comparison in found for file in verdicts.draw(comparison, results)])


def existing(results: Path) -> "Store":
    """The store of a results folder that is there.

    Raises:
        StoreError: There is none.
    """
    from anomalybench.bench.store import Store
    from anomalybench.core.errors import StoreError, printable

    if not results.is_dir():
        raise StoreError(f"the results folder {printable(results)} does not exist. Name yours: --results DIR.")
    return Store(results)


def stored(store: "Store", suite: str, data: Path | None) -> "tuple[str, list[Result], int]":
    """Name of a suite, the results of its jobs on the images that are there, and how many jobs have none."""
    from anomalybench.core.job import EXTERNAL

    session = _session(store, suite, data)
    records = session.stored()
    found = session.asked(records)
    others = store.on_same_images(found, f"{EXTERNAL}*")
    return session.suite.name, [*found, *others], len(session.suite.jobs) - len(records)


def chosen(store: "Store", wanted: list[str], data: Path | None, *, finished: bool) -> "list[Result]":
    """Results of the store: all, or those that are named by suite, run or id; if `finished`, only status ok."""
    from anomalybench.core.record import results_of

    records = [record for record in store.records() if record.status == "ok" or not finished]
    there = [result for record in records for result in results_of(record)]
    if wanted:
        names = named(store, wanted, data, records)
        there = [result for result in there if result.id in names]
    if not there:
        raise _nothing(store, f"no {'finished job' if finished else 'job'}{' of these' if wanted else ''}")
    return there


def named(store: "Store", wanted: list[str], data: Path | None, records: "list[Record]") -> set[str]:
    """Ids of the results that are meant by the beginning of an id, or a suite's or a run's name.

    Raises:
        UsageError: There is no such suite, run or result.
    """
    from anomalybench.bench.store.selection import Selection
    from anomalybench.core.job import EXTERNAL
    from anomalybench.core.record import results_of

    found: set[str] = set()
    for name in wanted:
        ids = {result.id for record in records for result in results_of(record) if name and result.id.startswith(name)}
        ids |= {record.id for record in records if name and record.id.startswith(name)}
        if not ids and not (ids := Selection(store, name).ids()):
            session = _session(store, name, data)
            mine = session.stored()
            ids = {result.id for result in store.on_same_images(session.asked(mine), f"{EXTERNAL}*")}
            ids |= {record.id for record in mine if not results_of(record)}
            ids |= {result.id for result in session.asked(mine)}
        found |= ids
    return found


def _nothing(store: "Store", what: str) -> "StoreError":
    """The error where there is nothing to show, with what would help."""
    from anomalybench.core.errors import StoreError
    from anomalybench.report import remarks

    return StoreError(" ".join([f"{store.results} holds {what}.", *(remarks.left_out(store) or ["Run some first."])]))


def _session(store: "Store", suite: str, data: Path | None) -> "Session":
    from anomalybench.bench.request import Request
    from anomalybench.bench.session import Session
    from anomalybench.bench.store.selection import names
    from anomalybench.bench.suite_file import SUFFIXES, files
    from anomalybench.core.errors import unknown

    if not suite.endswith(SUFFIXES) and suite not in files():
        raise unknown("suite or run", suite, [*files(), *names(store)])
    return Session(Request(suite=suite, data=data, results=store.results, floors=False))
