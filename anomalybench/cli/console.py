"""What the command line draws with rich: tables, progress bars, and text that is never read as markup."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table as RichTable

    from anomalybench.bench.data_check import Report
    from anomalybench.bench.executor import Finished, Plan
    from anomalybench.bench.settings import Settings
    from anomalybench.bench.store import Store
    from anomalybench.core.job import Job, Record
    from anomalybench.report.verdicts import Ground

_NAMED = 6
_CAPTION = (
    "positive = anomalous; oracle = best threshold picked on test, a bound and not a result; small numbers = 95 % "
    "interval over test images;\n= after a name: tied with the best; not above a floor: not shown to be better than "
    "random, brightness and pixel_knn"
)
_NAME_WIDTH = 30
_SHOWN = {
    "method": "method", "supervision": "learns from", "dataset": "dataset", "protocol": "protocol", "status": "status",
    "n_categories": "cat.", "auroc": "auroc", "balanced_accuracy": "bal. acc.", "oracle_balanced_accuracy": "oracle",
    "average_precision": "AP", "f1": "f1", "fit_s": "fit s", "predict_ms_per_image": "ms/image", "params_m": "M params",
}  # fmt: skip


def console(*, stderr: bool = False) -> "Console":
    """A console as wide as the terminal, or wide enough for the tables where there is none."""
    from rich.console import Console

    found = Console(stderr=stderr, emoji=False)
    return found if found.is_terminal else Console(stderr=stderr, width=140, emoji=False)


def table(*columns: str, **options: Any) -> "RichTable":
    """An empty table in the house's style; `options` are those of rich's Table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left", **options)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def plain(text: object) -> str:
    """Any text, escaped so that rich never reads it as markup."""
    from rich.markup import escape

    return escape(str(text))


def print_jobs(jobs: "list[Job]") -> None:
    """One row per job."""
    shown = table("job", "method", "dataset", "category", "protocol", "fold", "seed", title=f"{len(jobs)} jobs")
    for job in jobs:
        cells = (job.id, job.method.name, job.dataset.name, job.category, job.protocol.name, job.fold, job.seed)
        shown.add_row(*map(plain, cells))
    console().print(shown)


def print_leaderboard(leaderboard: "pd.DataFrame") -> None:
    """The leaderboard's main columns, with a mark at the ROC AUC of what is tied with the best or not above a floor."""
    import pandas as pd

    shown = table(*_SHOWN.values(), caption=_CAPTION)
    shown.columns[0].min_width = min(_NAME_WIDTH, max((len(name) for name in leaderboard["method"]), default=0) + 2)
    for row in leaderboard.to_dict("records"):
        cells = ["" if pd.isna(row[name]) else _number(row[name]) for name in _SHOWN]
        cells[0] += " =" if row["tied_with_best"] is True else ""
        cells[0] += " [red]not above a floor[/]" if row["above_floors"] is False else ""
        for metric in ("auroc", "balanced_accuracy"):
            if not pd.isna(low := row[f"{metric}_low"]):
                limits = f" [dim]{low:.3f}-{row[f'{metric}_high']:.3f}[/]"
                cells[list(_SHOWN).index(metric)] += limits
        shown.add_row(*cells)
    console().print(shown)


def print_frame(frame: "pd.DataFrame", title: str) -> None:
    """Any table."""
    import pandas as pd

    shown = table(*map(str, frame.columns), title=plain(title), title_justify="left")
    for row in frame.itertuples(index=False):
        shown.add_row(*("" if pd.isna(cell) else _number(cell, 6) for cell in row))
    console().print(shown)


def print_ground(ground: "Ground") -> None:
    """What can be said of methods that share their test images."""
    k = ground.ranking.n_categories
    out = console()
    out.print(f"\n[b]{plain(ground.metric)} on {plain(ground.dataset)}, {plain(ground.protocol)}[/]", highlight=False)
    caption = f"p: paired bootstrap, adjusted by Holm over {len(ground.pairs)} pairs (or categories); intervals are not"
    columns = ("better", "other", "category", "better", "other", "difference", "95 % interval", "p", "p signed-rank")
    shown = table(*columns, caption=caption)
    for pair in ground.pairs:
        rows = [("all", pair.whole), *(pair.by_category.items() if len(ground.pairs) == 1 else ())]
        for name, d in rows:
            known = d.p == d.p
            limits, p = (f"{d.interval.low:+.3f} to {d.interval.high:+.3f}", f"{d.p:.2g}") if known else ("unknown", "")
            tested = f"{pair.wilcoxon:.2g}" if name == "all" and k > 1 else ""
            cells = (pair.a, pair.b, name, f"{d.a:.3f}", f"{d.b:.3f}", f"{d.value:+.3f}", limits, p, tested)
            shown.add_row(*map(plain, cells))
    out.print(shown)
    if len(ground.ranking.methods) > 2 and k > 1:
        ranks = zip(ground.ranking.methods, ground.ranking.ranks, strict=True)
        listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
        out.print(f"Mean ranks over {k} categories: {plain(listed)}", soft_wrap=True, highlight=False)
    best = ground.ranking.methods[0]
    told = [pair.sentence() for pair in ground.pairs if not k or best in (pair.a, pair.b)]
    for text in (*told, *ground.remarks):
        out.print(f"- {plain(text)}", soft_wrap=True, highlight=False)


def print_card(record: "Record") -> None:
    """Everything that a record says, section by section."""
    from anomalybench.report import card

    out = console()
    out.print(f"\n[b]{plain(record.job)}[/]  {record.job.id}  {record.status}", highlight=False)
    if record.error:
        out.print(plain(record.error), soft_wrap=True)
    limits = card.limits(record)
    for title, values in card.sections(record).items():
        shown = table(title, "value", *(["95 % interval"] if values.keys() & limits.keys() else []), show_edge=False)
        for name, value in values.items():
            shown.add_row(plain(name), plain(card.cell(value)), *(filter(None, [limits.get(name)])))
        out.print(shown)
    for note in record.notes:
        warn(note)


def print_data_report(report: "Report") -> None:
    """Balance, sizes and findings of one category."""
    out = console()
    out.print(f"\n[b]{plain(report.dataset)}/{plain(report.category)}[/]: {report.n_images} images", highlight=False)
    shown = table("own split", "label", "defect", "images", "masks")
    for row in report.balance:
        label = "anomalous" if row.label else "normal"
        shown.add_row(*map(plain, (row.split or "", label, row.defect, row.images, row.masks)))
    out.print(shown)
    for name, counts in (("sizes", report.sizes), ("modes", report.modes)):
        out.print(f"{name}: {plain(', '.join(f'{key} ({n})' for key, n in counts.items()))}", highlight=False)
    if not report.findings:
        out.print("[green]nothing leaks, nothing is wrong[/]")
        return
    found = table("severity", "kind", "files", "what and what to do")
    for one in report.findings:
        listed = ", ".join(one.paths[:_NAMED]) + (f", ... ({len(one.paths)})" if len(one.paths) > _NAMED else "")
        found.add_row(*map(plain, (one.severity, one.kind, listed, one.detail)))
    out.print(found)


@contextmanager
def status() -> "Iterator[Callable[[str], None]]":
    """A line that says what is being looked at, gone in the end; nothing where there is no terminal."""
    with console(stderr=True).status("") as line:
        yield lambda text: line.update(plain(text))


def warn(text: str) -> None:
    """One remark that a reader should not miss."""
    console(stderr=True).print(f"[bold yellow]Note:[/] {plain(text)}", soft_wrap=True, highlight=False)


def _number(cell: object, digits: int = 3) -> str:
    return f"{cell:.{digits}f}" if isinstance(cell, float) else plain(cell)


def print_files(files: list[Path]) -> None:
    """Where something was written."""
    for file in files:
        console().print(f"written: {plain(file)}", soft_wrap=True, highlight=False)


def follow(todo: "Plan", store: "Store", settings: "Settings") -> "list[Finished]":
    """Run a plan with a bar for the run and one for this process's job; one line per finished job."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from anomalybench.bench import executor

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    finished = []
    with Progress(*columns, console=console(), transient=True) as bars:
        run_bar = bars.add_task("jobs", total=len(todo.jobs))
        job_bar = bars.add_task("", total=None, visible=False)

        def progress(job: "Job", done: int, total: int) -> None:
            bars.update(job_bar, description=plain(job), completed=done, total=total, visible=True)

        with closing(executor.run(todo, store, settings, progress)) as items:
            for item in items:
                finished.append(item)
                bars.advance(run_bar)
                bars.console.print(plain(_line(item)), soft_wrap=True, highlight=False)
    return finished


def _line(item: "Finished") -> str:
    record = item.record
    auroc, balanced = record.metrics.get("auroc"), record.metrics.get("balanced_accuracy")
    known = auroc is not None and balanced is not None
    numbers = f"auroc {auroc:.3f}, balanced accuracy {balanced:.3f}" if known else ""
    took = "" if record.costs.total_s is None else f" in {record.costs.total_s:.1f} s"
    state = "done before" if item.reused else record.status + took
    return f"{item.job}: {state} {numbers or record.error or ''}"
