"""Explanations of a convolutional classifier: which part of the image speaks for the anomalous class.

All start from the last feature maps A (n x k x h x w) and the anomalous logit y, never the softmax, whose gradient dies
where the network is sure. g is dy/dA. Sums are rectified, as their authors do; nothing is normalised per image.
Differences from the grad-cam package: Ablation-CAM sets a channel to 0 and divides by |y|, so that a negative logit
does not turn the map around; Eigen-CAM's arbitrary sign is set so that the value of greatest magnitude is positive.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch.nn import functional as F

Explainer = Literal[
    "gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "scorecam", "ablationcam", "eigencam", "occlusion"
]
IN_CLOSED_FORM: tuple[Explainer, ...] = ("gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "ablationcam")
"""What `explain_averaged` knows."""
_BATCH = 32


class Explainable(Protocol):
    """A classifier in two halves."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Last feature maps n x k x h x w of normalised images."""
        ...

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits n x 2 (good, anomalous) of feature maps."""
        ...


def explain(network: Explainable, x: torch.Tensor | None, features: torch.Tensor, explainer: Explainer) -> torch.Tensor:
    """Maps of n normalised images x whose feature maps are `features`: n x h x w, coarse unless `occlusion`.

    Only `occlusion` and `scorecam` need x.
    """
    if x is not None and explainer == "occlusion":
        return _occlusion(network, x)
    if x is not None and explainer == "scorecam":
        return _scorecam(network, x, features)
    if explainer == "ablationcam":
        return _ablationcam(network, features)
    if explainer == "eigencam":
        return projection(features).clamp_min(0)
    return _FROM_GRADIENTS[explainer](features, gradients(network, features))


class Averaging(Explainable, Protocol):
    """A classifier whose logits are linear in the means of its feature maps."""

    def class_weights(self) -> torch.Tensor:
        """Weight of each channel's mean in the anomalous logit."""
        ...


def explain_averaged(network: Averaging, features: torch.Tensor, explainer: Explainer) -> torch.Tensor:
    """`explain` without a backward pass, for explainers in `IN_CLOSED_FORM`: it can be exported.

    With means, dy/dA is w_k / (h w) everywhere, and a channel set to 0 costs the logit w_k times its mean.
    """
    weights = network.class_weights()
    if explainer == "ablationcam":
        return _ablated(weights * features.mean((2, 3)), network.logits(features)[:, 1], features)
    cells = int(features.shape[2]) * int(features.shape[3])
    gradient = (weights / cells)[None, :, None, None].expand_as(features)
    return _FROM_GRADIENTS[explainer](features, gradient)


def gradients(network: Explainable, features: torch.Tensor) -> torch.Tensor:
    """dy/dA, computed through the head alone."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = features.clone().detach().requires_grad_()
        (gradient,) = torch.autograd.grad(network.logits(leaf)[:, 1].sum(), leaf)
    return gradient


def _weighted(weights: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nk,nkhw->nhw", weights, features).clamp_min(0)


def _gradcam(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Selvaraju et al. 2017: channels weighted by their mean gradient."""
    return _weighted(g.mean((2, 3)), a)


def _gradcam_plus_plus(a: torch.Tensor, g: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """Chattopadhay et al. 2018: positive gradients weighted by their share of the second-order term."""
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3 + eps)
    return _weighted((g.clamp_min(0) * torch.where(g != 0, alpha, 0)).sum((2, 3)), a)


def _xgradcam(a: torch.Tensor, g: torch.Tensor, eps: float = 1e-7) -> torch.Tensor:
    """Fu et al. 2020: gradients weighted by the share of the channel's activation."""
    return _weighted((g * a).sum((2, 3)) / (a.sum((2, 3)) + eps), a)


def _hirescam(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Draelos and Carin 2020: gradient times activation, cell by cell."""
    return (g * a).sum(1).clamp_min(0)


def _layercam(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Jiang et al. 2021: positive gradient times activation, cell by cell."""
    return (g.clamp_min(0) * a).sum(1).clamp_min(0)


_FROM_GRADIENTS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "gradcam": _gradcam,
    "gradcam++": _gradcam_plus_plus,
    "xgradcam": _xgradcam,
    "hirescam": _hirescam,
    "layercam": _layercam,
}


def projection(a: torch.Tensor) -> torch.Tensor:
    """Cells projected on their first principal component (Muhammad and Yeasin 2020); it knows nothing of the class."""
    cells = a.flatten(2).transpose(1, 2).double()
    centred = cells - cells.mean(1, keepdim=True)
    first = torch.linalg.svd(centred, full_matrices=False).Vh[:, :1]
    projected = (centred @ first.transpose(1, 2))[..., 0]
    top = projected.gather(1, projected.abs().argmax(1, keepdim=True))
    signed: torch.Tensor = projected * torch.where(top < 0, -1, 1)
    return signed.reshape(len(a), *a.shape[2:]).to(a.dtype)


def _ablationcam(network: Explainable, a: torch.Tensor) -> torch.Tensor:
    """Desai and Ramaswamy 2020: how much of the logit is lost without each channel."""
    n, k = a.shape[:2]
    y = network.logits(a)[:, 1]
    lost = torch.empty(n, k, device=a.device)
    for channels in torch.arange(k, device=a.device).split(_BATCH):
        without = a[:, None].repeat(1, len(channels), 1, 1, 1)
        without[:, torch.arange(len(channels)), channels] = 0
        lost[:, channels] = y[:, None] - network.logits(without.flatten(0, 1))[:, 1].unflatten(0, (n, -1))
    return _ablated(lost, y, a)


def _ablated(lost: torch.Tensor, logits: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return _weighted(lost / logits.abs().clamp_min(1e-12)[:, None], a)


def _scorecam(network: Explainable, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Wang et al. 2020: channels weighted by the softmax of the logits that the image masked with them gets."""
    maps = []
    for image, channels in zip(x, a, strict=True):
        masks = F.interpolate(channels[:, None], image.shape[1:], mode="bilinear")
        low, high = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
        masked = ((masks - low) / (high - low + 1e-8)).split(_BATCH)
        y = torch.cat([network.logits(network.features(image * part))[:, 1] for part in masked])
        maps.append(_weighted(y.softmax(0)[None], channels[None]))
    return torch.cat(maps)


def _occlusion(network: Explainable, x: torch.Tensor) -> torch.Tensor:
    """Zeiler and Fergus 2014: the logit's loss when a grey square hides a place, averaged over the squares on it.

    Squares have a seventh of the image's side and move by half of that; grey is the mean colour the weights expect.
    """
    side = x.shape[-1]
    window, step = max(2, side // 7), max(1, side // 14)
    starts = sorted({*range(0, side - window, step), side - window})
    places = [(row, column) for row in starts for column in starts]
    total, covered = torch.zeros(len(x), side, side, device=x.device), torch.zeros(side, side, device=x.device)
    for i, image in enumerate(x):
        y = network.logits(network.features(image[None]))[0, 1]
        for first in range(0, len(places), _BATCH):
            chunk = places[first : first + _BATCH]
            hidden = image.repeat(len(chunk), 1, 1, 1)
            for picture, (row, column) in zip(hidden, chunk, strict=True):
                picture[:, row : row + window, column : column + window] = 0
            lost = y - network.logits(network.features(hidden))[:, 1]
            for value, (row, column) in zip(lost, chunk, strict=True):
                total[i, row : row + window, column : column + window] += value
    for row, column in places:
        covered[row : row + window, column : column + window] += 1
    return total / covered
