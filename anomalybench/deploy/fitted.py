"""A fitted method from its model's folder: what exports, proofs and latency begin with."""

from pathlib import Path
from typing import NamedTuple

from anomalybench.core import parameters, registry
from anomalybench.core.errors import StoreError
from anomalybench.core.method import Context, Method
from anomalybench.core.model_card import ModelCard
from anomalybench.deploy import bundle
from anomalybench.deploy.bundle import Bundle


class Fitted(NamedTuple):
    """A model with the method that computes it.

    Attributes:
        card: What it says of itself.
        method: The fitted method.
    """

    card: ModelCard
    method: Method


def fitted(folder: Path, device: str = "cpu") -> Fitted:
    """The fitted method of a model's folder.

    Args:
        folder: A folder with `model.json`.
        device: Torch device name.

    Raises:
        StoreError: It is damaged, of a newer version, or of another version of the method.
        UsageError: The method is not installed.
    """
    return restored(bundle.read(folder), str(folder), device)


def restored(model: Bundle, where: str, device: str = "cpu") -> Fitted:
    """The fitted method of a model that was read.

    Args:
        model: Card and arrays.
        where: Where it was read, for the error.
        device: Torch device name.

    Raises:
        StoreError: The arrays do not fit the method, or another version of it is installed.
        UsageError: The method is not installed.
    """
    card, state = model
    chosen = card.job.method
    cls = registry.method(chosen.name)
    if cls.version != card.job.version:
        raise StoreError(
            f"{where}: fitted with version {card.job.version} of {chosen.name}, installed is version {cls.version}, "
            "which computes something else. Fit it again, or use an exported file."
        )
    method = parameters.build(cls, chosen.name, chosen.params)
    try:
        method.restore(state, Context(seed=card.job.seed, device=device))
    except (KeyError, ValueError, RuntimeError) as error:  # what torch and methods raise for arrays that do not fit
        reason = str(error).strip().partition("\n")[0]
        raise StoreError(f"{where}: its weights do not fit {chosen.name} ({reason}).") from None
    return Fitted(card, method)
