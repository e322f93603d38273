"""How long a model takes: for one image by itself, and how many images per second in the best batch.

Measured from the decoded image (uint8) to its score and map, without anything stored in between; the same images for
every engine, after a warm-up. Threads are stated, since every number depends on them.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from anomalybench.core.method import ImageArrays
from anomalybench.deploy import bundle, onnx_model, openvino_model
from anomalybench.deploy.fitted import fitted
from anomalybench.deploy.model import ONNX, OPENVINO, Model
from anomalybench.deploy.timing import alone
from anomalybench.deploy.versions import system, versions

LATENCY = "latency.json"
BATCHES = (1, 2, 4, 8, 16, 32)
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_WARM_UP = 5
_LIMIT_S = 20.0
"""So long at most for the images by themselves."""
_BATCH_S = 1.0
"""So long at least for each batch size."""


class Timing(BaseModel):
    """What one engine takes.

    Attributes:
        engine: `torch`, `onnx` or `openvino`.
        images: How many images were timed by themselves.
        p50_ms: Milliseconds for one image by itself: median.
        p95_ms: Their 95 % quantile.
        p99_ms: Their 99 % quantile.
        batches: Images per second by batch size.
    """

    model_config = _FROZEN

    engine: str
    images: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    batches: dict[int, float]

    @property
    def best_batch(self) -> int:
        """The batch size with the most images per second."""
        return max(self.batches, key=lambda size: self.batches[size])


class Latency(BaseModel):
    """What the engines of a model take, on one machine.

    Attributes:
        schema_version: Layout of this file.
        model: Name of the model.
        record: Id of its record.
        threads: How many threads each engine computed with.
        height: Of the first image, in pixels; others may differ.
        width: Of the first image.
        engines: What each takes.
        machine: Processor, cores and memory.
        platform: Operating system.
        versions: Of the packages that had a part in it.
        date: When it was measured.
    """

    model_config = _FROZEN

    schema_version: int = 1
    model: str
    record: str
    threads: int
    height: int
    width: int
    engines: tuple[Timing, ...]
    machine: str
    platform: str
    versions: dict[str, str]
    date: str


def of_engines(
    folder: Path,
    exports: Path,
    images: Sequence[NDArray[np.uint8]],
    threads: int,
    count: int = 200,
    say: Callable[[str], None] = lambda text: None,
) -> Latency:
    """Time a model with each engine that it can run on here.

    Args:
        folder: The model's folder.
        exports: Where its exported files lie, if there are any.
        images: Decoded images; at least one.
        threads: How many threads each engine computes with.
        count: How many are timed by themselves.
        say: Called with the engine that is timed.

    Raises:
        StoreError: The model, or an exported file, is damaged.
    """
    from anomalybench.vision import devices  # loads torch

    card, timings = bundle.read_card(folder), []
    for engine in _engines(exports):
        say(engine)
        with _torch_threads(threads):
            timings.append(measure(_loaded(engine, folder, exports, threads), images, count))
    height, width = images[0].shape[:2]
    return Latency(
        model=card.name, record=card.record, threads=threads, height=height, width=width, engines=tuple(timings),
        machine=devices.machine("cpu"), platform=system(), versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _engines(exports: Path) -> list[str]:
    found = ["torch"]
    if (exports / ONNX).is_file():
        found.append("onnx")
    if (exports / OPENVINO).is_file() and importlib.util.find_spec("openvino") is not None:
        found.append("openvino")
    return found


def _loaded(engine: str, folder: Path, exports: Path, threads: int) -> Model:
    if engine == "onnx":
        return onnx_model.load(exports / ONNX, threads)
    if engine == "openvino":
        return openvino_model.load(exports, threads)
    card, method = fitted(folder)
    return Model(card, method.predict, engine)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Torch, and ONNX Runtime inside of it, compute with so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(model: Model, images: Sequence[NDArray[np.uint8]], count: int = 200) -> Timing:
    """Time a model.

    Args:
        model: The model.
        images: Decoded images; taken in turns.
        count: How many are timed by themselves; fewer where that would take more than 20 s.
    """
    spent = alone(model.predict, images, count, _LIMIT_S, _WARM_UP)
    p50, p95, p99 = (round(float(value), 3) for value in np.quantile(spent, [0.5, 0.95, 0.99]))
    batches = {size: _throughput(model, images, size) for size in BATCHES}
    return Timing(engine=model.engine, images=len(spent), p50_ms=p50, p95_ms=p95, p99_ms=p99, batches=batches)


def _throughput(model: Model, images: Sequence[NDArray[Any]], size: int) -> float:
    """Images per second in batches of that size; the first one warms up."""
    _predict(model, images, 0, size)
    done, spent = 0, 0.0
    while spent < _BATCH_S:
        spent += _predict(model, images, done, size)
        done += size
    return round(done / spent, 2)


def _predict(model: Model, images: Sequence[NDArray[Any]], start: int, size: int) -> float:
    """Seconds for a batch that begins at some place."""
    batch = ImageArrays([images[(start + i) % len(images)] for i in range(size)])
    begin = time.perf_counter()
    model.predict(batch)
    return time.perf_counter() - begin
