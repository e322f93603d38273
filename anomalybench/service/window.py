"""The last images that a version has seen, to be compared with its calibration images."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple


class Seen(NamedTuple):
    """What is remembered of an image.

    Attributes:
        score: Of the image.
        statistics: See `evaluate.statistics.image_statistics`.
    """

    score: float
    statistics: Mapping[str, float]


class Window:
    """The last images of a version; used from any thread.

    Args:
        most: How many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._seen: deque[Seen] = deque(maxlen=most)
        self._lock = threading.Lock()

    def add(self, seen: Seen) -> None:
        """Remember an image, and forget the oldest one where there are too many."""
        with self._lock:
            self._seen.append(seen)

    def last(self) -> list[Seen]:
        """Those that are remembered, the latest last."""
        with self._lock:
            return list(self._seen)
