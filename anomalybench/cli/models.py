"""Commands for models that are put to use: promote and roll back, and compare two."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console, model_tables
from anomalybench.cli.options import MODEL, RESULTS, ResultsOption
from anomalybench.core import places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anomalybench.bench.models import Found
    from anomalybench.deploy.stream import Predicted
    from anomalybench.report.model_comparison import Decisions

app = typer.Typer(no_args_is_help=True, help="Promote models under a name, go back to earlier ones, compare two.")


@app.command("list")
def list_(results: ResultsOption = RESULTS) -> None:
    """List the promoted models: which version is current, what it is, and how well it tested."""
    from anomalybench.cli.tables import existing
    from anomalybench.core.errors import AnomalyBenchError
    from anomalybench.deploy.promoted import Promoted

    promoted = Promoted(existing(results).results)
    rows = []
    for name in promoted.names():
        try:
            current = promoted.current(name)
        except AnomalyBenchError as error:
            console.warn(str(error))
            current = 0
        rows += [
            model_tables.listed(name, number, promoted.folder(name, number), current=number == current)
            for number in promoted.versions(name)
        ]
    if not rows:
        how = places.command("models", "promote", "JOB", "--as", "NAME", results=results)
        console.remark(f"{promoted.root} holds none. Promote one: {how}")
        return
    model_tables.print_models(rows)


@app.command()
def promote(
    job: Annotated[str, typer.Argument(metavar="JOB", help=f"{MODEL} A job may end in @RULE.")],
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the promoted model.")],
    keep: Annotated[int, typer.Option(min=1, help="How many versions stay, besides what a rollback needs.")] = 5,
    results: ResultsOption = RESULTS,
) -> None:
    """Make a copy of a model that stays, as the next version under a name; it becomes the current one."""
    from anomalybench.bench import models
    from anomalybench.deploy.promoted import Promoted

    promoted = Promoted(results)
    promoted.check_name(as_)
    bundle = models.look_up(job, results).read()
    done = promoted.promote(bundle, as_, keep)
    card = bundle.card
    console.remark(
        f"{as_}/{done.version} is current: {card.name}, threshold {card.decision.threshold:.6g} ({card.decision.rule})"
    )
    if done.removed:
        console.remark(f"Removed, since {keep} versions are kept: {', '.join(map(str, done.removed))}")
    if not card.decision.fitted:
        console.warn("the threshold is a fixed one, which was never fitted to images")
    console.print_files([done.folder])
    console.remark(f"Next: {places.command('export', as_, results=results)}")
    console.remark(f"      {places.command('predict', as_, 'IMAGES', results=results)}")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a promoted model.")],
    to: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of the version; default: the one before.")
    ] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Make an earlier version the current one again; no file of any version changes."""
    from anomalybench.deploy.promoted import Promoted

    number = Promoted(results).rollback(name, to)
    console.remark(f"{name}/{number} is current.")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=MODEL)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other model.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGES]...",
            help="A folder with a sub-folder for each class, or any images without labels; default: the test images "
            "of the two jobs, if these are the same.",
        ),
    ] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Compare two models on images that neither was fitted on: who is better, or without labels how far they agree."""
    from anomalybench.bench import models
    from anomalybench.bench.store import Store
    from anomalybench.core.errors import UsageError

    if a == b:
        raise UsageError(f"compare {a} with what? Name another model.")
    one, other = models.look_up(a, results), models.look_up(b, results)
    if images:
        _compare_on(images, (a, one), (b, other), results)
        return
    from anomalybench.report import model_comparison
    from anomalybench.report.model_comparison import Decisions

    cards = one.card(), other.card()
    test = model_comparison.shared_test(*cards, Store(results))
    console.remark(f"On the {len(test.paths)} test images that both jobs share")
    first, second = (
        Decisions(name, scores, card.decision.measured)
        for name, scores, card in zip((a, b), (test.a, test.b), cards, strict=True)
    )
    found = model_comparison.labelled(first, second, test.labels, test.keys)
    model_tables.print_labelled(first, second, found)
    model_tables.print_disagreement(first, second, test.paths, test.labels)


def _compare_on(images: list[str], a: "tuple[str, Found]", b: "tuple[str, Found]", results: Path) -> None:
    """Compare two models on the images that were named."""
    from anomalybench.bench import fresh_images
    from anomalybench.bench.store import Store
    from anomalybench.core.errors import DataError
    from anomalybench.evaluate.agreement import agreement
    from anomalybench.report import model_comparison

    with console.status() as say:
        say("reading images")
        given = fresh_images.fresh(images, [found.card() for _, found in (a, b)], Store(results))
        rows = [_predicted(name, found, given.paths, say) for name, found in (a, b)]
    readable = [i for i, pair in enumerate(zip(*rows, strict=True)) if all(row.verdict is not None for row in pair)]
    for remark in dict.fromkeys((*given.remarks, *(row.reason for own in rows for row in own if row.reason))):
        console.warn(remark)
    if not readable:
        raise DataError(
            "no image is left to compare on; the reasons are above. Name images that neither model was fitted on."
        )
    first, second = (_decisions(name, [own[i] for i in readable]) for (name, _), own in zip((a, b), rows, strict=True))
    paths = [str(given.paths[i]) for i in readable]
    if given.labels is None:
        console.remark(f"On {len(paths)} images without labels")
        found = agreement(first.anomalous, second.anomalous)
        model_tables.print_agreement(first, second, found)
        for sentence in model_comparison.sentences(first, second, found):
            console.remark(f"- {sentence}")
        model_tables.print_disagreement(first, second, paths)
        return
    labels = given.labels[readable]
    console.remark(f"On {len(paths)} labelled images")
    compared = model_comparison.labelled(first, second, labels, [given.keys[i] for i in readable])
    model_tables.print_labelled(first, second, compared)
    model_tables.print_disagreement(first, second, paths, labels)


def _predicted(name: str, found: "Found", paths: "Sequence[Path]", say: "Callable[[str], None]") -> "list[Predicted]":
    """What a model says of each image."""
    from anomalybench.deploy import stream
    from anomalybench.deploy.loading import load_model

    model = load_model(found.folder)
    if found.measurement is not None:
        model = model.with_card(found.card())
    rows = []
    for row in stream.predictions(model, paths):
        rows.append(row.without_pixels())
        say(f"{name}: {len(rows)} of {len(paths)} images")
    return rows


def _decisions(name: str, rows: "Sequence[Predicted]") -> "Decisions":
    import numpy as np

    from anomalybench.report.model_comparison import Decisions

    verdicts = [row.verdict for row in rows if row.verdict is not None]
    return Decisions(name, np.array([one.score for one in verdicts]), verdicts[0].threshold)
