"""Maps at input size: coarse cells interpolated bilinearly and blurred with a Gaussian, as products with matrices.

Both steps are linear and separable, so that one matrix of size x cells holds them. Applied to rows and columns, it
gives what interpolation and scipy's filter give, up to rounding (4e-7 of the greatest value). A network with it can be
exported, with scipy's filter not. Measured on 2 cores at 256 pixels from 32 x 32 cells: .04 ms for one map and .39 ms
for 16, instead of 1.1 and 18.5 ms.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

SIGMA = 4.0


def full_maps(coarse: torch.Tensor, size: int, *, align_corners: bool = False) -> torch.Tensor:
    """Maps n x h x w brought to n x size x size bilinearly and blurred with a Gaussian of 4 pixels.

    Args:
        coarse: The maps.
        size: Side of the result.
        align_corners: See `torch.nn.functional.interpolate`.
    """
    height, width = (int(side) for side in coarse.shape[-2:])
    rows, columns = (torch.from_numpy(_enlarging(cells, size, align_corners)).to(coarse) for cells in (height, width))
    return rows @ coarse @ columns.T


@lru_cache(maxsize=8)
def _enlarging(cells: int, size: int, align_corners: bool) -> NDArray[np.float64]:
    """What interpolates a line of cells and blurs it: size x cells."""
    inner = (np.arange(size) + 0.5) * cells / size - 0.5
    places = np.linspace(0, cells - 1, size) if align_corners else np.clip(inner, 0, cells - 1)
    # numpy, not torch: what is computed inside a trace would become part of it.
    lines = [np.interp(places, np.arange(cells), cell) for cell in np.eye(cells)]
    blurred: NDArray[np.float64] = gaussian_filter1d(np.stack(lines, axis=1), SIGMA, axis=0, mode="mirror")
    return blurred
