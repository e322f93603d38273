"""From uploads to answers: the bounded queue, the worker threads, the log. The routes of HTTP are thin above it.

Each image is decoded and computed by one thread of a pool; a semaphore lets `workers` of them compute at the same time,
so that the others decode meanwhile. So no more images are in memory, decoded, than there are threads. Requests that
wait hold only their bytes, which `uploads.Budget` bounds.
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import shortened
from anomalybench.service import log_reader
from anomalybench.service.examining import Examined, Origin, decode, digest, examine
from anomalybench.service.log import DecisionLog, FeedbackRow
from anomalybench.service.metrics import Metrics
from anomalybench.service.refusals import RefusedError
from anomalybench.service.serving import Loaded, Served, Serving
from anomalybench.service.settings import Settings
from anomalybench.service.traffic import position
from anomalybench.service.uploads import Budget, Form, Upload

T = TypeVar("T")


class Decided(NamedTuple):
    """The verdicts of a request.

    Attributes:
        examined: One per image, in the order of the request.
        logged: Whether they are in the log.
    """

    examined: Sequence[Examined]
    logged: bool


_BODIES = 8
"""How many of the greatest bodies may be in memory at the same time."""
_LEAST_BUDGET = 512_000_000
_STEADY = 0.05
"""Weight of the latest request in the mean time that `Retry-After` is estimated from."""


class Engine:
    """The working part of a service.

    Attributes:
        settings: What it was started with.
        serving: Its models.
        log: Its log.
        metrics: Its counters.
        budget: Memory for bodies of requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics, self.log = settings, Metrics(), DecisionLog(settings.log_file)
        self.serving = Serving(
            settings, lambda name, version, most: log_reader.last(self.log.file, name, version, most)
        )
        self.budget = Budget(max(_LEAST_BUDGET, _BODIES * settings.max_body))
        self._slots = threading.Semaphore(settings.workers)
        self._pool = ThreadPoolExecutor(settings.workers + (os.cpu_count() or 1), thread_name_prefix="worker")
        self._helpers = ThreadPoolExecutor(2, thread_name_prefix="helper")
        self._admitted, self._seconds = 0, 0.1

    def start(self) -> None:
        """Load the models, and open the log.

        Raises:
            StoreError: There is no model to serve; then nothing is written.
            UsageError: A split names a model or version that is not there.
        """
        self.serving.refresh()
        self.serving.check()
        self.log.start()
        self.serving.start()

    def stop(self) -> None:
        """Finish what was begun; the log is whole and closed afterwards. It waits, for a second at most where idle."""
        self.serving.stop()
        self._pool.shutdown(cancel_futures=True)
        self._helpers.shutdown(cancel_futures=True)
        self.log.close()

    @property
    def queue(self) -> int:
        """Requests in work or waiting."""
        return self._admitted

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place in the queue.

        Raises:
            RefusedError: It is full.
        """
        if self._admitted >= self.settings.queue:
            wait = max(1, math.ceil(self._admitted * self._seconds / self.settings.workers))
            text = f"{self._admitted} requests are waiting already. Try again in {wait} s."
            raise RefusedError(429, text, "queue_full", {"Retry-After": str(wait)})
        self._admitted += 1
        begun = time.perf_counter()
        try:
            yield
        finally:
            took = (time.perf_counter() - begun) / self._admitted
            self._seconds += _STEADY * (took - self._seconds)
            self._admitted -= 1

    def served(self, name: str) -> Served:
        """What is served of a model.

        Raises:
            RefusedError: There is no such model.
        """
        if found := self.serving.models.get(name):
            return found
        known = ", ".join(self.serving.models) or "none"
        raise RefusedError(404, f"there is no promoted model {shortened(name)}. Known: {known}.", "unknown_model")

    def version(self, served: Served, version: int) -> Loaded:
        """A version that is in memory.

        Raises:
            RefusedError: It is not.
        """
        if found := served.versions.get(version):
            return found
        known = ", ".join(map(str, served.versions)) or "none"
        raise RefusedError(
            404, f"{served.name}: version {version} is not served. In memory: {known}.", "unknown_version"
        )

    def chosen(self, served: Served, part: str | None, sha256: str) -> Loaded:
        """The version that answers for a part, or for an image whose part is not known.

        Raises:
            RefusedError: No version of the model is in memory.
        """
        key = f"image {sha256}" if part is None else f"part {part}"
        if found := served.at(position(served.name, key)):
            return found
        raise RefusedError(503, " ".join(served.pending) or f"{served.name}: no version is in memory.", "no_version")

    async def decide_form(self, form: Form, served: Served) -> "Decided":
        """The verdicts on the images of a form; each image may get another version of a split.

        Raises:
            RefusedError: One of them cannot be decoded, no version is in memory, or it takes too long.
        """
        return await self._decided([partial(self._upload, upload, form.part, served) for upload in form.images])

    async def decide_arrays(
        self, arrays: NDArray[np.uint8], part: str | None, served: Served, version: Loaded | None
    ) -> "Decided":
        """The verdicts on images as arrays, all by one version.

        Args:
            arrays: n x height x width x 3.
            part: Id of the part that they show.
            served: The model.
            version: The version that decides; None where the split does.

        Raises:
            RefusedError: No version is in memory, or it takes too long.
        """
        loaded = version or self.chosen(served, part, digest(arrays.tobytes()))
        return await self._decided([partial(self._array, pixels, part, loaded) for pixels in arrays])

    async def aside(self, function: Callable[[], T]) -> T:
        """Call a function in a worker thread, so that other requests go on.

        Raises:
            RefusedError: It takes too long.
        """
        async with self._in_time():
            return await asyncio.get_running_loop().run_in_executor(self._helpers, function)

    async def feedback(self, row: FeedbackRow) -> None:
        """Keep feedback; it is on the disk when this returns.

        Raises:
            RefusedError: There is no such decision, or the log cannot be written.
        """
        outcome = await asyncio.wrap_future(self.log.feedback(row))
        if outcome == "unknown decision":
            raise RefusedError(404, f"there is no decision {shortened(row.decision)} in the log.", "unknown_decision")
        if outcome == "failed":
            raise RefusedError(503, f"the feedback could not be kept: {self.log.trouble}. Send it again.", "log")
        self.metrics.feedback.labels(row.verdict).inc()

    async def _decided(self, jobs: Sequence[Callable[[], Examined]]) -> "Decided":
        async with self._in_time():
            examined = await self._in_pool(jobs)
            outcome = await asyncio.wrap_future(self.log.decisions([one.row for one in examined]))
        self._count(examined, logged=outcome == "kept")
        return Decided(examined, outcome == "kept")

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                yield
        except TimeoutError:
            text = f"no answer within {self.settings.timeout_s:g} s. Send fewer or smaller images, or try again."
            raise RefusedError(504, text, "timeout") from None

    async def _in_pool(self, jobs: Sequence[Callable[[], Examined]]) -> list[Examined]:
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(self._pool, job) for job in jobs]
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()  # of what is refused, nothing more is begun

    def _count(self, examined: Sequence[Examined], *, logged: bool) -> None:
        for one in examined:
            row = one.row
            self.metrics.decisions.labels(row.model, str(row.version), row.verdict).inc()
            one.loaded.window.add(one.seen)
        if not logged:
            self.metrics.log_failures.inc(len(examined))

    def _upload(self, upload: Upload, part: str | None, served: Served) -> Examined:
        begun, sha256 = time.perf_counter(), digest(upload.contents)
        loaded = self.chosen(served, part, sha256)
        pixels = decode(upload, loaded.model.card.bits, self.settings.max_megapixels)
        return examine(pixels, Origin(sha256, upload.file, part, begun), loaded, self._slots)

    def _array(self, pixels: NDArray[np.uint8], part: str | None, loaded: Loaded) -> Examined:
        origin = Origin(digest(pixels.tobytes()), None, part, time.perf_counter())
        return examine(pixels, origin, loaded, self._slots)
