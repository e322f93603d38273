"""Commands that put a winner to work: `predict` on new images, `fit` on all data."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, ModelArgument, ResultsOption
from anomalybench.core import places

if TYPE_CHECKING:
    from anomalybench.core.model_card import ModelCard
    from anomalybench.deploy.model import Model
    from anomalybench.deploy.stream import Predicted

ImagesArgument = Annotated[
    list[str], typer.Argument(metavar="IMAGES...", help="Files, folders, patterns; - reads paths from standard input.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Table: .csv, .jsonl or .parquet; default: CSV on standard output."),
]
MapsOption = Annotated[Path | None, typer.Option("--maps", metavar="DIR", help="Write raw anomaly maps (.npy).")]
OverlaysOption = Annotated[
    Path | None, typer.Option("--overlays", metavar="DIR", help="Write each image under its heat map, with boxes.")
]
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Follow a folder until Ctrl-C; what --out lists already is not done again.")
]
FailOption = Annotated[bool, typer.Option("--fail-on-anomaly", help="Exit code 3 if an image is anomalous.")]
EngineOption = Annotated[
    str | None,
    typer.Option(metavar="torch|onnx|openvino", help="Default: the exported file where there is one, else torch."),
]
_FOUND_ANOMALY = 3
_RECENT = 200
"""Drift is looked for in so many of the last images."""


def predict(
    model: ModelArgument,
    images: ImagesArgument,
    out: OutOption = None,
    maps: MapsOption = None,
    overlays: OverlaysOption = None,
    watch: WatchOption = False,
    fail_on_anomaly: FailOption = False,
    engine: EngineOption = None,
    device: Annotated[str, typer.Option(help="For the engine torch: cpu, cuda, cuda:1, ...")] = "cpu",
    results: ResultsOption = RESULTS,
) -> None:
    """Score new images with a kept model, and say which are anomalous and where.

    Files that are no images become rows with their reason, the rest goes on. Exit code 0: all were read, 1: some could
    not be, 2: bad input, named, 3: an image is anomalous (with --fail-on-anomaly alone).
    """
    fitted = _loaded(model, results, engine, device)
    _check_pictures(fitted.card, images, maps, overlays)
    rows = _watched(fitted, images, out) if watch else _listed(fitted, images, shown=out is not None)
    tally = _Tally()
    try:
        with _interruptible(), _output(out, go_on=watch) as write:
            for row, name in rows:
                write(row)
                tally.add(row)
                _write_pictures(row, name, maps, overlays)
    except KeyboardInterrupt:
        console.error("", f"Stopped after {tally.n} images, whose rows are written.")
        if not watch:
            sys.exit(130)
    _report(fitted.card, tally)
    if out is not None:
        console.print_files([place for place in (out, maps, overlays) if place is not None])
    if fail_on_anomaly and tally.anomalous:
        sys.exit(_FOUND_ANOMALY)
    if tally.reasons:
        sys.exit(1)


def _loaded(name: str, results: Path, engine: str | None, device: str) -> "Model":
    """The model that is meant."""
    with console.status() as say:
        say("loading the model")
        from anomalybench.bench.models import exported_folder, look_up
        from anomalybench.deploy.loading import load_model

        found = look_up(name, results)
        exported = engine in ("onnx", "openvino")
        fitted = load_model(exported_folder(found) if exported else found.folder, engine, device)
        if found.measurement is not None:
            fitted = fitted.with_card(found.card())
    if not fitted.card.decision.fitted:
        console.warn("the threshold is a fixed one, which was never fitted to images")
    return fitted


def fit(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job by how its id begins, or best:RUN for the winner of a run.")
    ],
    as_: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Promote it under this name.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the model into this folder.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, gpu, cuda, cuda:1, ...")] = "auto",
    data: DataOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Fit the winner again on all data: train and test images; its threshold comes from the same calibration part.

    The card names the job whose test figures speak for it, and says that these are of the earlier fit.
    """
    from anomalybench.core.errors import UsageError

    if (as_ is None) == (out is None):
        raise UsageError("fit: say where the model goes: either --as NAME, which promotes it, or --out DIR.")
    with console.status() as say:
        say("reading images")
        from anomalybench.bench import winner

        target = winner.Target(results, as_, out)
        target.check()
        chosen = winner.fitted_job(job, results, data)
        bundle = chosen.refit(device, lambda done, total: say(f"{chosen.record.job}: {done} of {total}"))
    folder = target.keep(bundle)
    card, used = bundle.card, bundle.card.counts
    console.remark(
        f"{card.name}: fitted on {used.train_normal + used.train_anomalous} images, train and test part together; "
        f"threshold {card.decision.threshold:.6g} ({card.decision.rule}) from {used.calibration} calibration images"
    )
    console.remark(f"The test figures on its card are those of the earlier fit, job {card.record}.")
    console.print_files([folder])
    console.remark(f"Next: {places.command('predict', as_ or str(folder), 'IMAGES', results=results)}")


@dataclass
class _Tally:
    """What has been predicted so far; the last images' numbers are kept for drift."""

    n: int = 0
    anomalous: int = 0
    reasons: list[str] = field(default_factory=list)
    recent: "deque[Predicted]" = field(default_factory=lambda: deque(maxlen=_RECENT))

    def add(self, row: "Predicted") -> None:
        self.n += 1
        if row.verdict is None:
            self.reasons.append(row.reason)
        else:
            self.anomalous += row.verdict.anomalous
            self.recent.append(row.without_pixels())


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def _output(out: Path | None, *, go_on: bool) -> "Iterator[Callable[[Predicted], None]]":
    """Where rows go."""
    from anomalybench.core.errors import printable
    from anomalybench.deploy.predictions_file import PredictionsFile, RowWriter

    if out is None:
        rows = RowWriter(sys.stdout, ".csv")

        def write(row: "Predicted") -> None:
            rows.write(replace(row, path=Path(printable(row.path))) if sys.stdout.isatty() else row)
            sys.stdout.flush()

        yield write
        return
    with PredictionsFile(out, go_on=go_on) as file:
        yield file.write


def _listed(fitted: "Model", images: list[str], *, shown: bool) -> "Iterator[tuple[Predicted, Path]]":
    """Rows of the files that were typed, with names below the folder that holds them all."""
    from anomalybench.deploy import image_list, stream

    files = list(image_list.listed(images, sys.stdin))
    places = [Path(os.path.abspath(file)) for file in files]  # noqa: PTH100, without `..`, but with links as they are
    top = os.path.commonpath([place.parent for place in places]) if places else "."
    rows = stream.predictions(fitted, files)
    shown_rows = console.bar(rows, len(files), "images") if shown else rows
    return ((row, place.relative_to(top)) for row, place in zip(shown_rows, places, strict=True))


def _watched(fitted: "Model", images: list[str], out: Path | None) -> "Iterator[tuple[Predicted, Path]]":
    from anomalybench.core.errors import UsageError
    from anomalybench.deploy import image_list, predictions_file, stream

    if len(images) != 1:
        raise UsageError(f"--watch follows one folder, not {len(images)}.")
    known = [row["path"] for row in predictions_file.read(out)] if out is not None and out.exists() else []
    files = image_list.watched(Path(images[0]), known)
    return ((row, row.path.relative_to(images[0])) for file in files for row in stream.predictions(fitted, [file]))


def _check_pictures(card: "ModelCard", images: list[str], maps: Path | None, overlays: Path | None) -> None:
    """Find out before the first image what would go wrong with maps and overlays."""
    from anomalybench.core.errors import UsageError

    for option, target in (("--maps", maps), ("--overlays", overlays)):
        if target is None:
            continue
        if card.maps is None:
            raise UsageError(f"{option}: {card.job.method.name} cannot locate; it has no maps. Leave it out.")
        for name in images:
            if Path(name).is_dir() and target.resolve().is_relative_to(Path(name).resolve()):
                raise UsageError(
                    f"{option} {target}: lies in the folder of the images, so that its pictures would be taken for "
                    "images. Name a folder elsewhere."
                )


def _write_pictures(row: "Predicted", name: Path, maps: Path | None, overlays: Path | None) -> None:
    """Raw map and overlay of an image, named after it."""
    if row.verdict is None or (maps is None and overlays is None):
        return
    from anomalybench.deploy import pictures

    if maps is not None:
        pictures.write_map(row.verdict, maps / name)
    if overlays is not None:
        pictures.write_overlay(row.verdict, overlays / name)


def _report(card: "ModelCard", tally: _Tally) -> None:
    from anomalybench.deploy import drift
    from anomalybench.evaluate.statistics import STATISTICS

    for reason in tally.reasons[:5]:
        console.warn(reason)
    if len(tally.reasons) > 5:
        console.warn(f"... and {len(tally.reasons) - 5} more files that cannot be read; the table has all reasons")
    judged = tally.n - len(tally.reasons)
    console.error("", f"{judged} images: {tally.anomalous} anomalous, {judged - tally.anomalous} normal")
    if tally.recent:
        scores = [row.verdict.score for row in tally.recent if row.verdict is not None]
        statistics = {name: [row.statistics[name] for row in tally.recent] for name in STATISTICS}
        found = drift.report(card, scores, statistics)
        for sentence in found.sentences if found.level != "none" else ():
            console.warn(sentence)
