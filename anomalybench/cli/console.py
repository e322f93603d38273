"""What the command line draws with rich: tables, progress bars, and text that is never read as markup."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anomalybench.cli.board import number, print_leaderboard
from anomalybench.cli.terminal import Column, console, plain, table

if TYPE_CHECKING:
    import pandas as pd

    from anomalybench.bench.executors import Finished, Plan
    from anomalybench.bench.session import Session
    from anomalybench.core.job import Job
    from anomalybench.core.parameters import Parameter
    from anomalybench.core.record import Result
    from anomalybench.inspection.data_check import Report
    from anomalybench.report.unusual import Unusual
    from anomalybench.report.verdicts import Comparison, Pair

__all__ = [
    "bar", "console", "error", "follow", "plain", "plan_summary", "print_card", "print_comparison", "print_data_report",
    "print_files", "print_frame", "print_jobs", "print_leaderboard", "print_listing", "print_parameters", "print_text",
    "print_unusual", "remark", "show_page", "status", "warn",
]  # fmt: skip
_NAMED = 6
T = TypeVar("T")


def print_jobs(plan: "Plan") -> None:
    """One row per job."""
    columns = [
        Column("job", number=True), Column("method"), Column("dataset", least=8), Column("category", least=8),
        Column("protocol", least=8), Column("fold", leaves=1), Column("seed", number=True),
    ]  # fmt: skip
    rows = [
        [job.id[:8], job.method.name, job.dataset.name, job.category, job.protocol.name, job.fold, str(job.seed)]
        for job in plan.jobs
    ]
    console().print(table(columns, rows, title=_plural(len(plan.jobs), "job")))
    remark(plan_summary(plan))


def plan_summary(plan: "Plan") -> str:
    """How much there is to do."""
    n_measured = len(plan.tasks) - plan.n_fits
    return f"{plan.n_fits} to fit, {n_measured} only to measure, {len(plan.done)} done."


def print_unusual(found: "Unusual") -> None:
    """The most unusual images of a category."""
    rows = [[str(row.path), number(row.score), "yes" if row.flagged else "no"] for row in found.images.itertuples()]
    columns = [Column("image", least=24), Column("score", number=True), Column("above threshold", least=9)]
    remark(f"Most unusual images: {found.category}, by {found.method}")
    console().print(table(columns, rows))
    n, every = found.n_tested, found.n_images
    tested = (
        f"All {n} images were tested." if n == every else f"{n} of {every} were tested; --protocol kfold tests all."
    )
    remark(f"No image is known to be defective: look at these first. {tested}")


def print_frame(frame: "pd.DataFrame", title: str) -> None:
    """Any table."""
    import pandas as pd

    columns = [
        Column(str(name), number=pd.api.types.is_numeric_dtype(frame[name]), least=6 if len(frame.columns) > 6 else 10)
        for name in frame.columns
    ]
    rows = [[number(cell, 6) for cell in row] for row in frame.itertuples(index=False)]
    console().print(table(columns, rows, title=plain(title)))


def print_comparison(comparison: "Comparison") -> None:
    """What can be said of methods that share their test images."""
    k, one = comparison.ranking.n_categories, len(comparison.pairs) == 1
    out = console()
    where = f"{comparison.metric} on {comparison.dataset}, {comparison.protocol}"
    heading = f"{where}: a = {comparison.pairs[0].a}, b = {comparison.pairs[0].b}" if one else where
    out.print(f"\n[b]{plain(heading)}[/]", highlight=False, soft_wrap=True)
    columns = [
        Column("method a", least=9), Column("method b", least=9), Column("category", leaves=2, least=8),
        Column("a", number=True), Column("b", number=True), Column("difference\na - b", number=True),
        Column("95 % interval", number=True), Column("p", number=True),
        Column("signed-\nrank p", number=True, leaves=1),
    ]  # fmt: skip
    rows = [row for pair in comparison.pairs for row in _compared(pair, k, one=one)]
    out.print(table(columns, rows))
    over = f"{k} categories" if one else f"{len(comparison.pairs)} pairs"
    adjusted = f", adjusted by Holm over {over}; the intervals are not adjusted" if k > 1 or not one else ""
    out.print(f"p: paired bootstrap{adjusted}.", style="dim")
    if len(comparison.ranking.methods) > 2 and k > 1:
        ranks = zip(comparison.ranking.methods, comparison.ranking.ranks, strict=True)
        listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
        out.print(f"Mean ranks over {k} categories: {plain(listed)}", soft_wrap=True, highlight=False)
    best = comparison.ranking.methods[0]
    told = [pair.sentence() for pair in comparison.pairs if not k or best in (pair.a, pair.b)]
    for text in (*told, *comparison.remarks):
        out.print(f"- {plain(text)}", soft_wrap=True, highlight=False)


def _compared(pair: "Pair", n_categories: int, *, one: bool) -> list[list[str]]:
    """The rows of a pair; where it is the only one, its names stand in the heading and its categories in the rows."""
    parts = [("all", pair.whole), *(pair.by_category.items() if one and n_categories > 1 else ())]
    names = ["", ""] if one else [pair.a, pair.b]
    found = []
    for name, d in parts:
        known = d.p == d.p
        limits, p = (f"{d.interval.low:+.3f} to {d.interval.high:+.3f}", f"{d.p:.2g}") if known else ("unknown", "")
        tested = f"{pair.wilcoxon:.2g}" if name == "all" and n_categories > 1 else ""
        category = name if one else ""
        found.append([*names, category, f"{d.a:.3f}", f"{d.b:.3f}", f"{d.value:+.3f}", limits, p, tested])
    return found


def print_card(result: "Result", results: Path) -> None:
    """Everything that a result in this results folder says, section by section, and how to put its model to work."""
    from anomalybench.report import card

    out = console()
    record = result.record
    out.print(f"\n[b]{plain(record.job)}[/]  {plain(result.id)}  {record.status}", highlight=False, soft_wrap=True)
    if record.error:
        out.print(plain(record.error), soft_wrap=True)
    limits = card.limits(result)
    for title, values in card.sections(result).items():
        columns = [Column(title, least=20), Column("value", least=24), Column("95 % interval", number=True)]
        rows = [[name, card.cell(value) or "-", limits.get(name, "")] for name, value in values.items()]
        out.print(table(columns, rows, show_edge=False))
    for line in card.use(result, results):
        remark(line)
    for note in result.notes:
        warn(note)


def print_data_report(report: "Report") -> None:
    """Balance, sizes and findings of one category."""
    out = console()
    many = _plural(report.n_images, "image")
    out.print(f"\n[b]{plain(report.dataset)}/{plain(report.category)}[/]: {many}", highlight=False)
    rows = [
        [row.split or "", "anomalous" if row.label else "normal", row.defect, str(row.images), str(row.masks)]
        for row in report.balance
    ]
    counted = [Column("images", number=True), Column("masks", number=True)]
    out.print(table([Column("own split"), Column("label"), Column("defect"), *counted], rows))
    for name, counts in (("sizes", report.sizes), ("modes", report.modes)):
        out.print(f"{name}: {plain(', '.join(f'{key} ({n})' for key, n in counts.items()))}", highlight=False)
    if not report.findings:
        out.print("[green]nothing leaks, nothing is wrong[/]")
        return
    found = []
    for one in report.findings:
        more = [f"... ({len(one.paths)})"] if len(one.paths) > _NAMED else []
        found.append([one.severity, one.kind, ",\n".join([*one.paths[:_NAMED], *more]), one.found])
    names = ("severity", "kind", "files", "what and what to do")
    out.print(table([Column(name, least=least) for name, least in zip(names, (8, 12, 14, 20), strict=True)], found))
    for kind, advice in dict.fromkeys((one.kind, one.advice) for one in report.findings if one.advice):
        out.print(f"{kind}: {plain(advice)}", highlight=False)


def print_listing(rows: dict[str, str]) -> None:
    """Names, and what each one is."""
    columns = [Column("name", least=18), Column("what it is", least=30)]
    console().print(table(columns, [[name, summary] for name, summary in rows.items()]))


def print_text(text: str) -> None:
    """Paragraphs, parted by empty lines, each filled anew for the width; indented lines stay as they are."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.split("\n")
        kept = any(line.startswith((" ", "- ")) for line in lines)
        console().print(plain(("\n" if kept else " ").join(lines)), end="\n\n", highlight=False)


def print_parameters(owner: str, parameters: "list[Parameter]") -> None:
    """One row per parameter of a plugin, protocol or rule."""
    columns = [
        Column("parameter", least=24), Column("type", least=8, leaves=1), Column("range", least=7),
        Column("default", least=8), Column("what it is", least=18),
    ]  # fmt: skip
    rows = [[f"{owner}.{row.name}", row.type, row.range, str(row.default), row.description] for row in parameters]
    console().print(table(columns, rows))


@contextmanager
def status() -> "Iterator[Callable[[str], None]]":
    """A line that says what is being looked at, gone in the end; nothing where there is no terminal."""
    with console(stderr=True).status("") as line:
        yield lambda text: line.update(plain(text))


def warn(text: str) -> None:
    """One remark that a reader should not miss."""
    console(stderr=True).print(f"[bold yellow]Note:[/] {plain(text)}", soft_wrap=True, highlight=False)


def print_files(files: list[Path]) -> None:
    """Where something was written."""
    for file in files:
        console().print(f"written: {plain(file)}", soft_wrap=True, highlight=False)


def remark(text: str) -> None:
    """A line that says what was done or found."""
    console().print(plain(text), soft_wrap=True, highlight=False)


def error(label: str, text: str) -> None:
    """A line on standard error, with a label in rich's markup."""
    console(stderr=True).print(f"{label} {plain(text)}".lstrip(" "), soft_wrap=True, highlight=False)


def show_page(file: Path, *, open_: bool) -> None:
    """Say where the page is, and open it in a browser if that is wanted."""
    import webbrowser

    print_files([file])
    if open_ and not webbrowser.open(file.resolve().as_uri()):
        warn(f"no browser found to open {file}")


def bar(items: "Iterable[T]", total: int, what: str) -> "Iterator[T]":
    """The same items, with a bar on standard error where that is a terminal."""
    from rich.progress import track

    yield from track(items, what, total, console=console(stderr=True), transient=True)


def follow(session: "Session", plan: "Plan", finished: "list[Finished]") -> None:
    """Run a plan with a bar for the run and one for this process's job; one line per finished job.

    Args:
        session: What runs it.
        plan: What to run.
        finished: Gets each job as it ends.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as bars:
        run_bar = bars.add_task("jobs", total=len(plan.jobs))
        job_bar = bars.add_task("", total=None, visible=False)

        def progress(job: "Job", done: int, total: int) -> None:
            bars.update(job_bar, description=plain(job), completed=done, total=total, visible=True)

        with closing(session.run(plan, progress)) as items:
            for item in items:
                finished.append(item)
                bars.advance(run_bar)
                bars.console.print(plain(_without_reason(item)), soft_wrap=True, highlight=False)


def _without_reason(item: "Finished") -> str:
    """A finished job in a line; why it failed or was skipped is told once in the end, with all jobs alike."""
    return str(item).removesuffix(item.record.error or "").rstrip()


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
