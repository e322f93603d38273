"""What the floors that look for similar images share."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch  # a floor without a network need not wait for it


class Neighbours(NamedTuple):
    """The k nearest of m vectors for each of n, the nearest first; all m where there are fewer.

    Attributes:
        distances: Euclidean, n x k.
        places: Which of the m vectors they are, n x k.
    """

    distances: NDArray[np.float64]
    places: NDArray[np.intp]


def nearest(queries: NDArray[np.float32], memory: NDArray[np.float32], k: int) -> Neighbours:
    """The k nearest of m vectors for each of n.

    scikit-learn finds them, in half the time of plain numpy (.13 s for 1,000 among 1,000 vectors of 3,072 numbers). Its
    distances come from an expansion that gives 1e-6 instead of 0 for equal images, so they are computed again here.
    """
    from sklearn.neighbors import NearestNeighbors

    vectors, kept = queries.astype(np.float64), memory.astype(np.float64)
    search = NearestNeighbors(n_neighbors=min(k, len(kept)), algorithm="brute").fit(kept)
    places = search.kneighbors(vectors, return_distance=False)
    distances = [np.linalg.norm(vectors - kept[place], axis=1) for place in places.T]
    return Neighbours(np.stack(distances, axis=1), places)


def nearest_tensors(queries: "torch.Tensor", memory: "torch.Tensor", k: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """`nearest` for a network that is exported: distances and places, all n x m differences at once."""
    near = (queries[:, None] - memory).norm(dim=2).topk(min(k, len(memory)), largest=False)
    return near.values, near.indices
