"""What the methods that imitate a frozen network share: its features of a whole train set, and images held out."""

import numpy as np
import torch

from anomalybench.core.method import Context, Images
from anomalybench.vision.features import Frozen
from anomalybench.vision.images import batches

_CHUNK = 32


def targets(extract: Frozen, images: Images) -> list[torch.Tensor]:
    """Features of n images after each wanted layer, n x c x h x w.

    They are kept as float16, which loses nothing because `Frozen` rounds to it, and halves the memory.
    """
    found = [[layer.half() for layer in extract(part)] for part in batches(images, _CHUNK)]
    return [torch.cat(layers) for layers in zip(*found, strict=True)]


def hold_out(n: int, share: float, context: Context, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of the images to train on and of those held out, a random share of n.

    At least one is held out if `share` is positive, and at least one is trained on. Where there is one image only, it
    has both parts, and a note says so.

    Args:
        n: Number of train images.
        share: Share to hold out.
        context: Lends the generator and takes the note.
        name: The method's name, for the note.
    """
    order = torch.from_numpy(context.rng.permutation(n))
    if share <= 0:
        return order, order[:0]
    if n == 1:
        context.notes.append(f"{name}: nothing could be held out of one train image, so it was trained and checked on")
        return order, order
    held = int(np.clip(round(share * n), 1, n - 1))
    return order[held:], order[:held]
