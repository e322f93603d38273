"""The command that serves promoted models over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, ResultsOption

if TYPE_CHECKING:
    from anomalybench.service.engine import Engine
    from anomalybench.service.settings import Settings

Host = Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")]
SplitOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VERSION:%,...",
        help="Share a model's traffic, as in pill=current:90,previous:10; a version is current, previous or a number. "
        "Can be repeated.",
    ),
]
Workers = Annotated[int, typer.Option(help="Images computed at the same time; they share the cores.")]
Queue = Annotated[int, typer.Option(help="Requests that may be in work or wait; more are refused.")]
Megapixels = Annotated[float, typer.Option(help="Greatest image.")]
Body = Annotated[float, typer.Option("--max-body-mb", help="Greatest request in megabytes.")]
MaxImages = Annotated[int, typer.Option(help="Most images in a request.")]
Timeout = Annotated[float, typer.Option(help="Seconds that a request may take.")]
KeyFile = Annotated[
    Path | None, typer.Option(help="File with the key that requests must carry; else ANOMALYBENCH_API_KEY.")
]
Log = Annotated[
    Path | None, typer.Option(help="SQLite file of decisions and feedback; default: service/ in the results.")
]
_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    results: ResultsOption = RESULTS,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    split: SplitOption = None,
    workers: Workers = 2,
    queue: Queue = 128,
    max_megapixels: Megapixels = 50.0,
    max_body_mb: Body = 64.0,
    max_images: MaxImages = 16,
    timeout: Timeout = 30.0,
    api_key_file: KeyFile = None,
    log: Log = None,
) -> None:
    """Serve the promoted models over HTTP: verdicts, feedback, comparison of versions, drift.

    A newly promoted and exported version takes over while the service runs. Every decision is logged before it is
    answered. The addresses are described at /docs.
    """
    from anomalybench.service.settings import Settings, api_key
    from anomalybench.service.traffic import read_splits

    settings = Settings(
        results=results, log=log, splits=read_splits(split or []), workers=workers, queue=queue,
        max_megapixels=max_megapixels, max_body_mb=max_body_mb, max_images=max_images, timeout_s=timeout,
        api_key=api_key(api_key_file),
    )  # fmt: skip
    _serve(settings, host, port)


def _serve(settings: "Settings", host: str, port: int) -> None:
    from anomalybench.service import server
    from anomalybench.service.engine import Engine

    listener = server.listen(host, port)
    engine = Engine(settings)
    engine.start()
    try:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        server.run(engine, listener, lambda: _welcome(engine, address, local=host in _LOCAL))
    finally:
        listener.close()
        engine.stop()
    console.remark("stopped; every answered decision is in the log.")


def _welcome(engine: "Engine", address: str, *, local: bool) -> None:
    console.remark(f"serving at {address}")
    for one in engine.serving.models.values():
        shares = ", ".join(f"version {share.version} ({share.percent:g} %)" for share in one.shares if share.version)
        if shares:
            console.remark(f"  {one.name}: {shares}")
    console.remark(f"addresses and examples: {address}/docs")
    console.remark(f"log of decisions: {engine.settings.log_file}")
    for one in engine.serving.models.values():
        for text in one.pending:
            console.warn(text)
    if engine.log.trouble:
        console.warn(f"decisions are not logged ({engine.log.trouble}).")
    if not local and engine.settings.api_key is None:
        console.warn(
            "anybody who reaches this machine can use the service: set a key (--api-key-file FILE), or listen at "
            "127.0.0.1."
        )
