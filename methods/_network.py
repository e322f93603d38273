"""What the methods with a network share: its backbone checked before the run, its fitted state saved and restored."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from anomalybench.core.errors import UsageError
from anomalybench.core.method import Context, Graph, Input, Method, WeightsSource
from anomalybench.methods._judgement import Judge, Judgement
from anomalybench.methods._memory import parse_strides
from anomalybench.vision import backbones, training
from anomalybench.vision.features import Frozen
from anomalybench.vision.weights import weights_source

Network = TypeVar("Network", bound=nn.Module)
Features = Callable[[torch.Tensor], list[torch.Tensor]]
"""From pictures n x 3 x side x side to what `frozen_` gives for them."""


class NetworkMethod(Method, Generic[Network]):
    """Base of the methods whose fitted state is a network, and arrays beside it.

    The arrays are the numpy attributes whose names end in `_`, and the tensors that `tensors` names.
    """

    tensors: ClassVar[tuple[str, ...]] = ()
    """Names of the fitted attributes that are tensors on the device."""
    network_: Network
    device_: str
    frozen_: Frozen

    @abstractmethod
    def _build(self, context: Context, *, pretrained: bool) -> None:
        """Set `network_` on `context.device`, and what else `predict` needs that is not fitted.

        Args:
            context: As for `fit`.
            pretrained: Whether the weights are needed; not where saved ones are filled in afterwards.
        """

    def _judge(self, features: Features) -> Callable[[torch.Tensor], Judgement]:
        """What `predict` does from pictures on, in operations that ONNX has; the method is on the CPU. Optional.

        Args:
            features: The frozen features; those of a method without `frozen_` are an empty list.

        Raises:
            UsageError: There is none, with these parameters or at all; the text says why.
        """
        name = type(self).__module__.rpartition(".")[2]
        raise UsageError(f"{name}: has no graph, so it cannot be exported; its class does not define `_judge`.")

    def check(self) -> None:
        """See `Method.check`; looks at the parameters `backbone` and `strides`, where the method has them."""
        if (name := getattr(self, "backbone", None)) is not None:
            backbones.check(name)
        if (strides := getattr(self, "strides", None)) is not None:
            parse_strides(strides)

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Method.state`."""
        tensors = {name: getattr(self, name).cpu().numpy() for name in self.tensors}
        return super().state() | tensors | training.to_arrays(self.network_)

    def restore(self, state: Mapping[str, NDArray[Any]], context: Context) -> None:
        """See `Method.restore`."""
        self._build(context, pretrained=False)
        weights = dict(state)
        arrays = {name: weights.pop(name) for name in state.keys() - self.network_.state_dict().keys()}
        training.from_arrays(self.network_, weights)
        self.network_.eval()
        super().restore(arrays, context)
        for name in self.tensors:
            setattr(self, name, torch.from_numpy(arrays[name]).to(context.device))

    def graph(self) -> Graph:
        """See `Method.graph`; the network is a copy."""
        side = self.input().side
        assert side is not None, "networks see pictures of one size"
        twin = copy.copy(self)
        twin.restore(self.state(), Context())
        frozen = twin.frozen_.graph() if hasattr(twin, "frozen_") else None
        judge = twin._judge(_nothing if frozen is None else frozen)
        return Graph(Judge(judge, *([] if frozen is None else [frozen]), twin.network_), side)

    def input(self) -> Input:
        """See `Method.input`; frozen layers see what their weights expect."""
        name, side = getattr(self, "backbone", None), super().input().side
        if name is None:
            return Input(side)
        backbone = getattr(self, "backbone_", None) or backbones.load(name, pretrained=False)
        return Input(side, backbone.mean, backbone.std)

    def weights(self) -> WeightsSource | None:
        """See `Method.weights`."""
        name = getattr(self, "backbone", None)
        return None if name is None else weights_source(name)


def _nothing(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Features of a method without frozen layers."""
    return []
