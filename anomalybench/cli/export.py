"""Commands that put a model into a file of its own, prove it, and say how fast it is."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, ModelArgument, ResultsOption
from anomalybench.cli.terminal import Column, table

if TYPE_CHECKING:
    from anomalybench.bench.proof import Place
    from anomalybench.deploy.fitted import Fitted
    from anomalybench.deploy.latency import Latency
    from anomalybench.deploy.parity import Difference, Evidence, Parity

_NOISE = 32


def export(
    model: ModelArgument,
    target: Annotated[
        Literal["onnx", "openvino"], typer.Option("--format", help="One ONNX file, or OpenVINO's two.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Where to; default: the model's folder, for a job exports/ in the results."
        ),
    ] = None,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Keep the file even if some of its decisions differ.")
    ] = False,
    no_proof: Annotated[bool, typer.Option("--no-proof", help="Export without comparing it with the record.")] = False,
    data: DataOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Write a model to one file that takes images of any size, and prove that it decides as was measured.

    The file runs without anomalybench and without torch. It is run on all images of the model's job, and compared with
    the record: scores, maps and decisions. Where a decision differs, the file is not kept.
    """
    with console.status() as say:
        say("loading the model")
        from anomalybench.bench import proof
        from anomalybench.deploy import exporting
        from anomalybench.deploy.fitted import fitted

        place = proof.place(model, results)
        restored = fitted(place.folder)
        evidence = None if no_proof else _evidence(place, restored, data)
        done = exporting.export(
            restored, out or place.exports, target, evidence, allow_different=allow_different,
            done=lambda n: say(f"comparing: {n} images"),
        )  # fmt: skip
    if done.parity is None:
        console.warn("not compared with any record: whether the file decides as was measured was not shown")
    else:
        _print_parity(done.parity)
    console.print_files(done.files)


def latency(
    model: ModelArgument,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that each engine computes with; default: all cores.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images are timed by themselves.")] = 200,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where its exported files lie, if in another folder.")
    ] = None,
    data: DataOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Say how long a model takes for one image, and how many images per second in the best batch.

    With torch, and with ONNX Runtime and OpenVINO where it was exported. From the decoded image to score and map.
    """
    with console.status() as say:
        say("loading the model")
        from anomalybench.bench import proof
        from anomalybench.core.files import write_text
        from anomalybench.deploy import latency as timing

        place = proof.place(model, results)
        folder = out or place.exports
        shown = proof.some_images(place, data, _NOISE)
        found = timing.of_engines(place.folder, folder, shown.images, threads or _cores(), images, say)
    if not shown.real:
        console.warn("the images of the job are not at hand: timed with noise of the model's input size")
    _print_latency(found)
    write_text(folder / timing.LATENCY, found.model_dump_json(indent=1), "--out DIR")
    console.print_files([folder / timing.LATENCY])


def _evidence(place: "Place", restored: "Fitted", data: Path | None) -> "Evidence":
    from anomalybench.bench import proof
    from anomalybench.core.errors import StoreError

    if place.record is None:
        raise StoreError(
            f"{restored.card.name}: its record {restored.card.record} is not in {place.store.results}, so that nothing "
            "shows whether the file decides as was measured. Name the results folder: --results DIR; "
            "or export it without: --no-proof."
        )
    return proof.evidence(place.record, place.store, restored, data)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print_parity(parity: "Parity") -> None:
    columns = [
        Column("images", least=10), Column("compared with", least=9), Column("number", number=True),
        Column("largest difference\nof a score", number=True), Column("of a map's value", number=True),
        Column("decisions\nthat differ", number=True),
    ]  # fmt: skip
    against = "record" if parity.compared_with == "record" else "fitted method"
    rows = [["all of the job", against, *_cells(parity.job)]]
    rows += [[f"calibration, {kind}", "fitted method", *_cells(one)] for kind, one in parity.derived.items()]
    console.console().print(table(columns, rows))
    console.remark("Differences are shares of the range of the job's scores, and of its maps.")
    if parity.job.decisions:
        console.warn(f"{parity.job.decisions} of {parity.job.images} images are judged otherwise than by the {against}")
    else:
        console.remark(f"All {parity.job.images} decisions are those of the {against}.")


def _cells(found: "Difference") -> list[str]:
    maps = "" if found.maps is None else f"{found.maps:.1e}"
    return [str(found.images), f"{found.scores:.1e}", maps, str(found.decisions)]


def _print_latency(found: "Latency") -> None:
    columns = [
        Column("engine", least=8), Column("p50 ms", number=True), Column("p95 ms", number=True),
        Column("p99 ms", number=True), Column("images per s", number=True), Column("in batches of", number=True),
    ]  # fmt: skip
    rows = [
        [one.engine, f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.p99_ms:.2f}",
         f"{one.batches[one.best_batch]:.1f}", str(one.best_batch)]
        for one in found.engines
    ]  # fmt: skip
    console.console().print(table(columns, rows))
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    console.remark(f"{threads}, images of {found.height} x {found.width} pixels, {found.machine}")
