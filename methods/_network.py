"""What the methods with a network share: its backbone checked before the run, its fitted state saved and restored."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from anomalybench.core.method import Context, Method
from anomalybench.methods._memory import parse_strides
from anomalybench.vision import backbones, training

Network = TypeVar("Network", bound=nn.Module)


class NetworkMethod(Method, Generic[Network]):
    """Base of the methods whose fitted state is a network, and arrays beside it.

    The arrays are the numpy attributes whose names end in `_`, and the tensors that `tensors` names.
    """

    tensors: ClassVar[tuple[str, ...]] = ()
    """Names of the fitted attributes that are tensors on the device."""
    network_: Network
    device_: str

    @abstractmethod
    def _build(self, context: Context, *, pretrained: bool) -> None:
        """Set `network_` on `context.device`, and what else `predict` needs that is not fitted.

        Args:
            context: As for `fit`.
            pretrained: Whether the weights are needed; not where saved ones are filled in afterwards.
        """

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
