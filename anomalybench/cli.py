"""The command line; with `console`, all that prints. What is heavy is imported inside the commands: help is instant."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomalybench import console

if TYPE_CHECKING:
    from anomalybench.bench.store import Store
    from anomalybench.bench.suite import Request
    from anomalybench.core.job import Job, Record

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Find out which method finds the defects in your images: at which threshold, where, at what cost.",
)

SuiteArgument = Annotated[str | None, typer.Argument(metavar="[SUITE]", help="A suite's name or YAML file.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of the results.")]


@app.callback()
def _main() -> None:
    """Keep the sub-commands even if there were only one."""


@app.command()
def run(
    suite: SuiteArgument = None,
    methods: Annotated[str, typer.Option(help="Methods, separated by commas.")] = "",
    dataset: Annotated[str | None, typer.Option(help="Dataset; without a suite, an ad-hoc suite of it.")] = None,
    categories: Annotated[str, typer.Option(help="Categories, separated by commas.")] = "",
    protocol: Annotated[str | None, typer.Option(help="How images are split; see `list protocols`.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "",
    threshold: Annotated[str | None, typer.Option(help="Rule: youden, f1, fpr, normal_quantile or fixed.")] = None,
    explain: Annotated[
        int | None, typer.Option(min=0, help="Measure insertion and deletion on that many defective images of a job.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, as in cam.epochs=5 or kfold.k=3; repeatable.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data; default $ANOMALYBENCH_DATA.")] = None,
    results: ResultsOption = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Run again what is already done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the jobs, run nothing.")] = False,
) -> None:
    """Run methods on images and write leaderboards. Without a suite or dataset: [b]quickstart[/b].

    What is done already is not run again. Exit code 0: all went well, 1: a job failed, 2: bad input, named.
    """
    from anomalybench.bench.suite import Request, load
    from anomalybench.core import places

    request = Request(
        suite=suite,
        methods=_split(methods),
        dataset=dataset,
        categories=_split(categories),
        protocol=protocol,
        seeds=_seeds(seeds),
        threshold=threshold,
        explain=explain,
        params=_settings(settings or []),
        data=places.data(data),
    )
    loaded = load(request)
    if dry_run:
        console.print_jobs(loaded.jobs)
    else:
        _run(loaded.name, loaded.jobs, request, results, device, force=force)


@app.command("list")
def list_(what: Annotated[str, typer.Argument(metavar="methods|datasets|suites|protocols")]) -> None:
    """List what there is."""
    rows = _listing(what)
    table = console.table("name", "what it is")
    for name, summary in rows.items():
        table.add_row(console.plain(name), console.plain(summary))
    console.console().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A method, dataset, protocol or threshold rule.")]) -> None:
    """Show the parameters of a method, dataset, protocol or threshold rule."""
    import inspect

    from anomalybench.core import parameters
    from anomalybench.core.split import PROTOCOLS
    from anomalybench.evaluate.thresholds import RULES

    cls = _find(name)
    documented = inspect.getmodule(cls) if name not in {**PROTOCOLS, **RULES} else cls
    console.console().print(console.plain(inspect.getdoc(documented)))
    table = console.table("parameter", "type", "range", "default", "what it is")
    for row in parameters.table(cls):
        table.add_row(*map(console.plain, (f"{name}.{row.name}", row.type, row.range, row.default, row.description)))
    console.console().print(table)


@app.command()
def leaderboard(
    suite: SuiteArgument = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data; default $ANOMALYBENCH_DATA.")] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Make a suite's leaderboards from the records in the results folder; without a suite, one of all records."""
    from anomalybench.bench.store import Store
    from anomalybench.bench.suite import Request, load
    from anomalybench.core import places
    from anomalybench.core.errors import StoreError
    from anomalybench.report import leaderboard as report

    store = Store(results)
    if suite is None:
        name, records, missing = "all", list(store.records()), 0
    else:
        loaded = load(Request(suite=suite, data=places.data(data)))
        found = [store.get(job) for job in loaded.jobs]
        name, records = loaded.name, [record for record in found if record is not None]
        missing = len(found) - len(records)
    if not records:
        raise StoreError(f"{results} holds no results{f' of suite {suite}' if suite else ''}. Run some first.")
    tables = report.build(records)
    files = report.write(tables, results, name)
    console.print_leaderboard(tables.leaderboard)
    if missing:
        console.console().print(f"{missing} of the suite's jobs have not been run.")
    console.print_files(files)


@app.command()
def figures(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE or RUN]...", help="Suites, or jobs by the beginning of their id."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data; default $ANOMALYBENCH_DATA.")] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Draw heat maps, histograms, ROC curves and confusion matrices of finished jobs; by default of all there are."""
    from anomalybench.bench.store import Store
    from anomalybench.core import places
    from anomalybench.report import figures as report

    store = Store(results)
    records = _chosen(store, wanted or [], places.data(data))
    files = [file for record in records for file in report.draw(record, store)]
    console.console().print(f"{len(files)} figures of {len(records)} jobs.")
    console.print_files([results / "figures"])


def main() -> None:
    """Entry point: expected errors become one clear message and exit code 2."""
    from anomalybench.core.errors import AnomalyBenchError

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except AnomalyBenchError as error:
        console.console(stderr=True).print(f"[bold red]Error:[/] {console.plain(error)}", soft_wrap=True)
        sys.exit(2)


def _run(name: str, jobs: "list[Job]", request: "Request", results: Path, device: str, *, force: bool) -> None:
    from anomalybench.bench import executor
    from anomalybench.bench.store import Store
    from anomalybench.report import leaderboard as report
    from anomalybench.vision.devices import device_name

    store, torch_device = Store(results), device_name(device)
    store.check_writable()
    todo = executor.plan(jobs, store, request.data, force=force)
    try:
        finished = console.follow(todo, store, torch_device)
    except KeyboardInterrupt:
        done = sum(store.get(job) is not None for job in jobs)
        console.console(stderr=True).print(
            f"\nInterrupted with {done} of {len(jobs)} jobs done. The same command goes on."
        )
        sys.exit(130)
    tables = report.build(f.record for f in finished)
    console.print_leaderboard(tables.leaderboard)
    console.print_files([*report.write(tables, results, name), store.runs])
    failed = [f for f in finished if f.record.status == "failed"]
    for job in failed:
        console.console(stderr=True).print(
            f"[bold red]Failed:[/] {console.plain(job.job)}: {console.plain(job.record.error)}", soft_wrap=True
        )
    if failed:
        sys.exit(2 if all(f.record.bad_input for f in failed) else 1)


def _chosen(store: "Store", wanted: list[str], data: Path | None) -> "list[Record]":
    """Finished jobs of the store: all, or those of the suites and with the ids that are named."""
    from anomalybench.bench import suite
    from anomalybench.core.errors import StoreError, unknown

    records = [record for record in store.records() if record.status == "ok"]
    ids: list[str] = []
    for name in wanted:
        found = [record.job.id for record in records if record.job.id.startswith(name)]
        if not found:
            if name not in suite.names() and not name.endswith((".yaml", ".yml")):
                raise unknown("suite or job", name, [*suite.names(), *(r.job.id for r in records)])
            found = [job.id for job in suite.load(suite.Request(suite=name, data=data)).jobs]
        ids += found
    chosen = [record for record in records if not wanted or record.job.id in ids]
    if not chosen:
        raise StoreError(f"{store.results} holds no finished job{' of these' if wanted else ''}. Run some first.")
    return chosen


def _listing(what: str) -> dict[str, str]:
    from anomalybench.core import registry
    from anomalybench.core.errors import unknown

    if what == "methods":
        return {p.name: p.summary for p in registry.plugins("methods").values()}
    if what == "datasets":
        return {p.name: p.summary for p in registry.plugins("datasets").values()}
    if what == "suites":
        from anomalybench.bench import suite

        return suite.names()
    if what == "protocols":
        from anomalybench.core.split import PROTOCOLS

        return {name: (cls.__doc__ or "").partition("\n")[0] for name, cls in PROTOCOLS.items()}
    raise unknown("list", what, ("methods", "datasets", "suites", "protocols"))


def _find(name: str) -> type:
    from anomalybench.core import registry
    from anomalybench.core.errors import unknown
    from anomalybench.core.split import PROTOCOLS
    from anomalybench.evaluate.thresholds import RULES

    if name in registry.plugins("methods"):
        return registry.method(name)
    if name in registry.plugins("datasets"):
        return registry.dataset(name)
    known = {**PROTOCOLS, **RULES}
    if name not in known:
        raise unknown("name", name, [*known, *registry.plugins("methods"), *registry.plugins("datasets")])
    return known[name]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seeds(text: str) -> list[int]:
    from anomalybench.core.errors import UsageError

    try:
        return [int(part) for part in _split(text)]
    except ValueError:
        raise UsageError(f"--seeds {text}: write whole numbers separated by commas, as in --seeds 0,1,2.") from None


def _settings(texts: list[str]) -> dict[str, Any]:
    import yaml

    from anomalybench.core.errors import UsageError

    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise UsageError(f"--set {text}: write NAME.PARAMETER=VALUE, as in --set cam.epochs=5.")
    return values
