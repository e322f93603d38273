"""How long one image takes by itself: the same stopwatch for jobs and for models that are put to work."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.method import ImageArrays, Images


def alone(
    predict: Callable[[Images], object], images: Sequence[NDArray[Any]], count: int, limit_s: float, warm_up: int = 1
) -> NDArray[np.float64]:
    """Milliseconds from a decoded image by itself to its prediction: at least one value, at most `count`.

    Args:
        predict: What is timed.
        images: Decoded when asked for, which does not count; taken in turns.
        count: How many are timed.
        limit_s: No further one is begun after so many seconds.
        warm_up: So many go first and do not count.
    """
    spent: list[float] = []
    stop = time.perf_counter() + limit_s
    for place in range(warm_up + count):
        one = ImageArrays([images[place % len(images)]])
        begin = time.perf_counter()
        predict(one)
        spent.append(1000 * (time.perf_counter() - begin))
        if len(spent) > warm_up and time.perf_counter() > stop:
            break
    return np.array(spent[warm_up:])
