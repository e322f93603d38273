"""What a method is: a dataclass that fits on what its supervision allows, and predicts raw scores and maps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import UsageError

Supervision = Literal["nothing", "normals", "labels", "masks"]


class Images(Protocol):
    """RGB images, each height x width x 3. They are decoded on access and tell nothing of their paths or labels."""

    @property
    def hashes(self) -> tuple[str, ...] | None:
        """Hash of each image's contents, where they are known: a key to what was computed from it before."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray[np.uint8]]: ...

    @overload
    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice, /) -> "Images": ...


class ImageArrays(Sequence[NDArray[np.uint8]]):
    """Images in memory.

    Args:
        arrays: RGB, each height x width x 3.
    """

    hashes: None = None

    def __init__(self, arrays: Sequence[NDArray[np.uint8]]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageArrays": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.uint8] | ImageArrays":
        return ImageArrays(self._arrays[index]) if isinstance(index, slice) else self._arrays[index]


class FeatureCache(Protocol):
    """Keeps what frozen layers gave for an image; `vision.features.FeatureStore` is one.

    Attributes:
        saved_s: Seconds that entries have saved so far.
        trouble: Why it has stopped writing, if it has.
    """

    saved_s: float
    trouble: str | None

    def read(self, network: str, image: str, length: int) -> NDArray[np.float16] | None:
        """The `length` values of an image (named by its hash), or None if they are not there."""

    def write(self, network: str, image: str, values: NDArray[np.float16]) -> None:
        """Keep the values of an image."""

    def speed(self, network: str, seconds: float | None = None) -> float:
        """Seconds per image that computing took when last measured; with `seconds`, keep a measurement."""
        ...


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


@dataclass(frozen=True)
class Input:
    """What happens to an image before a method sees it; always RGB, 8 bits per channel, of any size.

    Attributes:
        side: Side of the square that images are resized to (bilinear as Pillow does it, aspect not kept); None if the
            method looks at them as they are.
        mean: Per-channel mean that is subtracted from values in [0, 1]; empty if nothing is.
        std: Per-channel deviation that they are divided by; empty if they are not.
    """

    side: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a frozen network come from.

    Attributes:
        backbone: Its name, as in the method's parameter.
        source: Where the weights were found.
        licence: Their licence; `unknown` where nothing states it.
    """

    backbone: str
    source: str
    licence: str


@dataclass(frozen=True)
class Graph:
    """A fitted method as a network, for export.

    Attributes:
        network: A torch module in eval mode on the CPU, made of operations that ONNX has. It takes pictures
            n x 3 x side x side, float32, whole numbers from 0 to 255 as `vision.images.stack` gives them, and returns
            scores n, or (scores n, maps n x size x size): those of `predict`, float32.
        side: Side of the pictures.
    """

    network: Any
    side: int


def _no_progress(done: int, total: int) -> None:
    """Default of `Context.progress`."""


@dataclass(frozen=True)
class Context:
    """What the runner gives a method to fit with.

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
    features: FeatureCache | None = None
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
    """Seconds that this fit saved because it used what an earlier one had computed."""
    learns_from: ClassVar[Supervision]
    """What it may see of the train set; override `supervision` where parameters decide."""

    def supervision(self) -> Supervision:
        """What it may see of the train set, with these parameters."""
        return self.learns_from

    def check(self) -> None:  # noqa: B027, most methods have nothing to check
        """Find what is wrong with the parameters before the run, quickly; raise UsageError or WeightsError."""

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

    def graph(self) -> Graph:
        """The fitted method as a network, for export; optional.

        Raises:
            UsageError: It has none, with these parameters or at all; the text says why.
        """
        name = type(self).__module__.rpartition(".")[2]
        raise UsageError(f"{name}: has no graph, so it cannot be exported; its class does not define `graph`.")

    def input(self) -> Input:
        """What happens to an image before the method sees it."""
        return Input(getattr(self, "size", None))

    def weights(self) -> WeightsSource | None:
        """Source and licence of the frozen network that it was fitted with; None without one."""
        return None

    @property
    def n_parameters(self) -> int:
        """Number of values in the fitted state."""
        return sum(int(array.size) for array in self.state().values())


def batch_dependence(method: Method, images: Images, scores: NDArray[np.floating[Any]] | None = None) -> float:
    """How much the scores of a few images change when each is predicted alone; 0 if not at all.

    Args:
        method: The fitted method.
        images: A few images.
        scores: Their scores as part of a larger batch; by default they are predicted together.

    Returns:
        The largest difference divided by the range of all these scores; differences of 1e-5 of the largest score or
        less are rounding and count as 0.
    """
    together = np.asarray(method.predict(images).scores if scores is None else scores, np.float64)
    alone = np.concatenate([method.predict(images[i : i + 1]).scores for i in range(len(images))]).astype(np.float64)
    apart = float(np.abs(together - alone).max(initial=0))
    both = np.concatenate([together, alone])
    if apart <= 1e-5 * np.abs(both).max(initial=0):
        return 0.0
    return apart / float(np.ptp(both))
