"""Commands that show what there is: plugins, parameters, and the result card of a job."""

from typing import Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, ResultsOption


def list_(what: Annotated[str, typer.Argument(metavar="methods|datasets|suites|protocols|glossary")]) -> None:
    """List what there is, or what the words mean."""
    console.print_listing(_listing(what))


def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME or RUN", help="A plugin, protocol or rule; or a job, by how its id begins.")
    ],
    results: ResultsOption = RESULTS,
) -> None:
    """Show the parameters of a method, dataset, protocol or threshold rule; or the result card of a finished job."""
    import inspect

    from anomalybench.bench.store import Store
    from anomalybench.core import parameters, registry
    from anomalybench.core.errors import unknown
    from anomalybench.core.record import results_of
    from anomalybench.evaluate.thresholds import RULES

    cls = _find(name)
    if cls is None:
        records = Store(results).records()
        found = [result for record in records for result in results_of(record) if name and result.id.startswith(name)]
        if not found:
            plugins = [plugin for kind in registry.KINDS for plugin in registry.plugins(kind)]
            raise unknown(f"name (and {results} holds no such job)", name, [*RULES, *plugins])
        for result in found:
            console.print_card(result, results)
        return
    documented = cls if name in RULES else inspect.getmodule(cls)
    console.print_text(inspect.getdoc(documented) or "")
    console.print_parameters(name, parameters.table(cls))


def _listing(what: str) -> dict[str, str]:
    from anomalybench.core import registry
    from anomalybench.core.errors import unknown

    if what in registry.KINDS:
        for trouble in registry.broken(what):
            console.warn(trouble)
        return {plugin.name: plugin.summary for plugin in registry.plugins(what).values()}
    if what == "suites":
        from anomalybench.bench import suite_file

        return suite_file.names()
    if what == "glossary":
        from anomalybench.report.glossary import TERMS

        return TERMS
    raise unknown("list", what, (*registry.KINDS, "suites", "glossary"))


def _find(name: str) -> type | None:
    from anomalybench.core import registry
    from anomalybench.evaluate.thresholds import RULES

    for kind in registry.KINDS:
        if name in registry.plugins(kind):
            return registry.load(kind, name)
    return RULES.get(name)
