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
    from anomalybench.core.split import PROTOCOLS
    from anomalybench.evaluate.thresholds import RULES

    cls = _find(name)
    if cls is None:
        records = [record for record in Store(results).records() if name and record.job.id.startswith(name)]
        if not records:
            plugins = [*registry.plugins("methods"), *registry.plugins("datasets")]
            raise unknown(f"name (and {results} holds no such job)", name, [*PROTOCOLS, *RULES, *plugins])
        for record in records:
            console.print_card(record)
        return
    documented = inspect.getmodule(cls) if name not in {**PROTOCOLS, **RULES} else cls
    console.print_text(inspect.getdoc(documented) or "")
    console.print_parameters(name, parameters.table(cls))


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
    if what == "glossary":
        from anomalybench.report.glossary import TERMS

        return TERMS
    raise unknown("list", what, ("methods", "datasets", "suites", "protocols", "glossary"))


def _find(name: str) -> type | None:
    from anomalybench.core import registry
    from anomalybench.core.split import PROTOCOLS
    from anomalybench.evaluate.thresholds import RULES

    if name in registry.plugins("methods"):
        return registry.method(name)
    if name in registry.plugins("datasets"):
        return registry.dataset(name)
    return {**PROTOCOLS, **RULES}.get(name)
