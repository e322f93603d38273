"""What a method is: a dataclass that fits on what its supervision allows, and predicts raw scores and maps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Supervision = Literal["nothing", "normals", "labels", "masks"]

Images = Sequence[NDArray[np.uint8]]
"""RGB images, each height x width x 3. They are decoded on access and tell nothing of their paths or labels."""


@dataclass(frozen=True)
class Train:
    """The part of the train set that a method's supervision allows it to see.

    Attributes:
        images: The images: normal ones only, unless the method learns from labels or masks.
        labels: One label per image (0 normal, 1 anomalous); None unless it learns from labels or masks.
        masks: Per image a boolean height x width array or None; None as a whole unless it learns from masks.
    """

    images: Images
    labels: NDArray[np.int64] | None = None
    masks: Sequence[NDArray[np.bool_] | None] | None = None


@dataclass(frozen=True)
class Prediction:
    """Raw output for n images: higher means more anomalous, never normalised or clamped.

    Attributes:
        scores: n image scores.
        maps: n x size x size anomaly maps, or None for a method that cannot locate.
    """

    scores: NDArray[np.floating[Any]]
    maps: NDArray[np.floating[Any]] | None = None


def _no_progress(done: int, total: int) -> None:
    """Default of `Context.progress`."""


@dataclass(frozen=True)
class Context:
    """What the runner lends a method while it fits.

    Attributes:
        seed: Seed of everything random in the fit.
        device: Torch device name.
        work: Folder for what can be computed again and shared between fits, or None.
        features: Where `vision.features.Frozen` keeps what frozen layers gave, or None.
        progress: Called with (steps done, steps in all).
        notes: What a reader of the results should know; a method appends to it.
    """

    seed: int = 0
    device: str = "cpu"
    work: Path | None = None
    features: Any = None
    progress: Callable[[int, int], None] = _no_progress
    notes: list[str] = field(default_factory=list)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rng", np.random.default_rng(self.seed))


class Method(ABC):
    """Base of method plugins: a dataclass whose fields are its hyperparameters; fitted state ends in `_`."""

    version: ClassVar[int] = 1
    """Add 1 whenever the results change for the same parameters: older records are then run again."""
    smoke: ClassVar[Mapping[str, Any]] = {}
    """Parameters that make a fit take about a second, for tests."""
    reused_s: float = 0.0
    """Seconds that a fit would have taken in addition, had it not taken over what an earlier one had computed."""
    learns_from: Supervision
    """What it may see of the train set; a class attribute, or a property where parameters decide."""

    @abstractmethod
    def fit(self, train: Train, context: Context) -> None:
        """Learn from `train`. Everything random comes from `context`."""

    @abstractmethod
    def predict(self, images: Images) -> Prediction:
        """Score and locate; each image's result is independent of the others in the batch."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Fitted state as arrays; by default every numpy attribute whose name ends in `_`."""
        return {k: v for k, v in vars(self).items() if k.endswith("_") and isinstance(v, np.ndarray)}

    def restore(self, state: Mapping[str, NDArray[Any]], context: Context) -> None:
        """Become the fitted method whose `state` was saved."""
        for name, value in state.items():
            setattr(self, name, value)

    def save(self, file: Path) -> None:
        """Write the fitted state to an .npz file."""
        with file.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **self.state())

    def load(self, file: Path, context: Context) -> None:
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as saved:
            self.restore(dict(saved), context)

    @property
    def n_parameters(self) -> int:
        """Number of values in the fitted state."""
        return sum(int(array.size) for array in self.state().values())
