"""What the nearest-neighbour methods share: distances to a memory of vectors, in blocks of bounded size."""

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256


def nearest(queries: NDArray[np.float32], memory: NDArray[np.float32], k: int) -> tuple[NDArray, NDArray]:
    """Euclidean distances to the k nearest of m vectors, the nearest first, and their places: both n x min(k, m)."""
    k = min(k, len(memory))
    squares = (memory.astype(np.float64) ** 2).sum(1)
    found = []
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK].astype(np.float64)
        distances = (block**2).sum(1)[:, None] - 2 * block @ memory.T.astype(np.float64) + squares
        places = np.argsort(distances, axis=1, kind="stable")[:, :k]
        # The expansion above cancels; the few distances that count are computed again from the differences.
        exact = [np.linalg.norm(block - memory[place], axis=1) for place in places.T]
        found.append((np.stack(exact, axis=1), places))
    distances, places = (np.concatenate(part) for part in zip(*found, strict=True))
    return distances, places
