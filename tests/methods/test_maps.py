"""Maps at input size against scipy's filter, and torch's interpolation."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from anomalybench.methods._maps import full_maps


@pytest.mark.parametrize(("height", "width", "size"), [(4, 4, 32), (7, 7, 50), (9, 9, 7), (32, 32, 256), (1, 3, 20)])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("n", [1, 5])
def test_full_maps_are_interpolated_and_blurred_as_torch_and_scipy_do(height, width, size, align_corners, n):
    coarse = torch.rand(n, height, width, generator=torch.Generator().manual_seed(0)) * 1000
    large = F.interpolate(coarse[:, None], (size, size), mode="bilinear", align_corners=align_corners)[:, 0]
    expected = ndimage.gaussian_filter(large.numpy(), 4, axes=(1, 2), mode="mirror")
    found = full_maps(coarse, size, align_corners=align_corners)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - expected).max() <= 1e-6 * expected.max()


def test_a_map_is_the_same_alone():
    coarse = torch.rand(16, 32, 32, generator=torch.Generator().manual_seed(0))
    together = full_maps(coarse, 256)
    for i in (0, 9):
        assert torch.allclose(full_maps(coarse[i : i + 1], 256)[0], together[i], rtol=1e-6)
