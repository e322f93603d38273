"""What the command line draws with rich: tables, progress bars, and text that is never read as markup."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table as RichTable

    from anomalybench.bench.executor import Finished, Plan
    from anomalybench.bench.store import Store
    from anomalybench.core.job import Job

_CAPTION = "positive = anomalous; oracle = best threshold picked on test, a bound and not a result"
_SHOWN = {
    "method": "method", "supervision": "learns from", "dataset": "dataset", "protocol": "protocol", "status": "status",
    "n_categories": "cat.", "auroc": "auroc", "balanced_accuracy": "bal. acc.", "oracle_balanced_accuracy": "oracle",
    "average_precision": "AP", "f1": "f1", "fit_s": "fit s", "predict_ms_per_image": "ms/image", "params_m": "M params",
}  # fmt: skip


def console(*, stderr: bool = False) -> "Console":
    """A console as wide as the terminal, or wide enough for the tables where there is none."""
    from rich.console import Console

    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=140)


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
    """The leaderboard's main columns."""
    import pandas as pd

    shown = table(*_SHOWN.values(), caption=_CAPTION)
    for row in leaderboard[list(_SHOWN)].itertuples(index=False):
        shown.add_row(
            *("" if pd.isna(cell) else f"{cell:.3f}" if isinstance(cell, float) else plain(cell) for cell in row)
        )
    console().print(shown)


def print_files(files: list[Path]) -> None:
    """Where something was written."""
    for file in files:
        console().print(f"written: {plain(file)}", soft_wrap=True, highlight=False)


def follow(todo: "Plan", store: "Store", device: str) -> "list[Finished]":
    """Run a plan with a bar for the run and one for the job at work; one line per finished job."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from anomalybench.bench import executor

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    finished = []
    with Progress(*columns, console=console(), transient=True) as bars:
        run_bar = bars.add_task("jobs", total=len(todo.jobs))
        job_bar = bars.add_task("", total=None)

        def progress(job: "Job", done: int, total: int) -> None:
            bars.update(job_bar, description=plain(job), completed=done, total=total)

        for item in executor.here(todo, store, device, progress):
            finished.append(item)
            bars.advance(run_bar)
            bars.console.print(plain(_line(item)), soft_wrap=True, highlight=False)
    return finished


def _line(item: "Finished") -> str:
    record = item.record
    auroc, balanced = record.metrics.get("auroc"), record.metrics.get("balanced_accuracy")
    numbers = f"auroc {auroc:.3f}, balanced accuracy {balanced:.3f}" if auroc is not None and balanced else ""
    state = "done before" if item.reused else f"{record.status} in {record.costs.total_s:.1f} s"
    return f"{item.job}: {state} {numbers or record.error or ''}"
