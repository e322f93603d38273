"""Commands that make results: `run` from methods, `score` from another tool's scores."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.bench.request import Request
from anomalybench.cli import console, options
from anomalybench.core import places

if TYPE_CHECKING:
    from anomalybench.bench.executors import Finished, Plan
    from anomalybench.bench.session import Session
    from anomalybench.core.record import Result
    from anomalybench.report.leaderboard import Tables


@options.with_request(argument="suite")
def run(
    request: Request,
    open_: options.OpenOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check suite, data and parameters, print the jobs, run nothing.")
    ] = False,
) -> None:
    """Run methods on images and write leaderboards. Without a suite, dataset or data: [b]quickstart[/b].

    What is done already is not run again. Exit code 0: all went well, 1: a job failed, 2: bad input, named.
    """
    with console.status() as say:
        say("reading options")
        from anomalybench.bench.session import Session

        session = Session(request)
        say("reading images")
        plan = session.plan()
        remarks = session.remarks()
    for trouble in session.broken_plugins():
        console.warn(trouble)
    for remark in remarks:
        console.remark(remark)
    if dry_run:
        console.print_jobs(plan)
    else:
        _run(session, plan, open_=open_)


@options.with_request(
    "suite", "dataset", "categories", "protocol", "seeds", "threshold", "params", "group_by", "data", "results"
)
def score(
    request: Request,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet file with the columns path and score.")],
    name: Annotated[str, typer.Option(help="What the tables call it: external:NAME.")],
    maps: Annotated[
        Path | None, typer.Option(help="Folder of anomaly maps: that of a/b.png is a/b.npy, a/b.tiff or a/b.tif.")
    ] = None,
    learns_from: Annotated[
        str | None, typer.Option(metavar="nothing|normals|labels|masks", help="What the tool was trained on, if known.")
    ] = None,
) -> None:
    """Measure scores that another tool made, on the same split and with the same thresholds and metrics as methods.

    Paths are relative to the dataset's folder. Train the tool on the train part alone: `data split` writes it down.
    """
    from anomalybench.bench import external
    from anomalybench.bench.session import Session
    from anomalybench.core.errors import UsageError

    if request.suite is None and request.dataset is None and request.data is None:
        raise UsageError("score: name the images, as in --dataset mvtec_ad or --suite quickstart.")
    session = Session(request, external.choice(name))
    session.store.check_writable()
    for outcome in external.outcomes(session, file, maps, learns_from):
        session.store.put(outcome)
    results = session.store.on_same_images(session.results(()))
    _write_tables(session, results)


def _run(session: "Session", plan: "Plan", *, open_: bool) -> None:
    if plan.done or plan.n_fits < len(plan.tasks):
        console.remark(console.plan_summary(plan))
    finished = _follow(session, plan)
    results = session.results(finished)
    failed = [item for item in finished if item.record.status == "failed"]
    if any(result.measurement is not None for result in results):
        tables = _write_tables(session, results)
        _print_unusual(session, results)
        _write_page(session, results, tables, open_=open_)
        if removed := session.keep_best(results):
            console.remark(f"{removed} models of other methods than the best were removed, as --keep-models best asks.")
        _print_notes(finished)
        _print_next(session, tables)
        _print_promote(session, results)
    _print_reasons(finished, "skipped", "[bold yellow]Skipped:[/]")
    _print_reasons(finished, "failed", "[bold red]Failed:[/]")
    if any("cannot be read as an image" in str(item.record.error) for item in failed):
        console.error("", "--skip-unreadable goes on without images that cannot be read; the records name them.")
    if failed:
        sys.exit(2 if all(item.record.bad_input for item in failed) else 1)


def _write_tables(session: "Session", results: "list[Result]") -> "Tables":
    from anomalybench.report import outputs

    tables = outputs.tables_of(results, session.store)
    console.print_leaderboard(tables.leaderboard, tables.by_category)
    files = outputs.write(session.suite.name, tables, results, session.store, add=session.suite.own)
    console.print_files([*files, session.store.runs])
    return tables


def _write_page(session: "Session", results: "list[Result]", tables: "Tables", *, open_: bool) -> None:
    """The page of a run that has just ended; a page that cannot be written is a warning, the results are there."""
    from anomalybench.report import page

    file = page.place(session.store, session.suite.name)
    try:
        page.write(session.suite.name, results, session.store, file, tables=tables)
    except Exception as error:  # whatever a page may stumble over, the run went well and its results are stored
        console.warn(f"the report page was not written: {error}")
    else:
        console.show_page(file, open_=open_)


def _print_next(session: "Session", tables: "Tables") -> None:
    """What helps most after a run on the user's own images, in a line."""
    if not session.suite.own:
        return
    board = tables.leaderboard
    few = board[board["not_ranked"].fillna("").str.contains("test image")]
    if session.request.protocol != "kfold" and len(few) == len(board) and board["auroc"].notna().any():
        console.remark("Next: --protocol kfold tests every image once, so that more of them are defective.")
    elif board["not_ranked"].isna().sum() > 1:
        said = places.command("compare", results=session.request.results)
        console.remark(f"Next: which differences are real: {said}")


def _print_promote(session: "Session", results: "list[Result]") -> None:
    """How to put the winner to work, where there is one."""
    from anomalybench.core.model_card import CARD
    from anomalybench.evaluate.catalogue import RANKING

    mine = {job.id for job in session.suite.jobs}
    kept = [r.record.job for r in results if CARD in r.record.files and r.metrics.get(RANKING) is not None]
    categories = list(dict.fromkeys(job.category for job in kept if job.id in mine))
    if categories:
        best = f"best:{session.suite.name}" + (f"/{categories[0]}" if len(categories) > 1 else "")
        said = places.command("models", "promote", best, "--as", "NAME", results=session.request.results)
        console.remark(f"Put the winner to work: {said}")


def _print_unusual(session: "Session", results: "list[Result]") -> None:
    """Where no image is known to be defective, those that a person should look at first."""
    from anomalybench.core.errors import StoreError
    from anomalybench.report.unusual import unusual

    mine = {job.id for job in session.suite.jobs}
    try:
        found = unusual([result for result in results if result.record.job.id in mine], session.store)
    except StoreError as error:
        console.warn(f"the most unusual images are not shown: {error}")
        return
    for one in found:
        console.print_unusual(one)


def _print_notes(finished: "list[Finished]") -> None:
    """Each note once, with the jobs that it is about."""
    about: dict[str, list[str]] = {}
    for item in finished:
        if item.measurement is not None:
            for note in (*item.record.notes, *item.measurement.notes):
                about.setdefault(note, []).append(str(item.job))
    for note, jobs in about.items():
        console.warn(f"{note} ({_named(jobs)})")


def _print_reasons(finished: "list[Finished]", status: str, label: str) -> None:
    """Each reason once, with the jobs that it ended."""
    about: dict[str, list[str]] = {}
    for item in finished:
        if item.record.status == status:
            about.setdefault(str(item.record.error), []).append(str(item.job))
    for reason, jobs in about.items():
        console.error(label, f"{_named(jobs)}: {reason}")


def _named(jobs: list[str]) -> str:
    counts = Counter(jobs)
    more = f" and {len(counts) - 3} more jobs" if len(counts) > 3 else ""
    return ", ".join(list(counts)[:3]) + more


def _follow(session: "Session", plan: "Plan") -> "list[Finished]":
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems send it first: as Ctrl-C
    finished: list[Finished] = []
    try:
        console.follow(session, plan, finished)
    except KeyboardInterrupt:
        done = sum(session.store.get(job, plan.table(job).fingerprint) is not None for job in plan.jobs)
        console.error("", f"\nInterrupted with {done} of {len(plan.jobs)} jobs done. The same command goes on.")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    return finished
