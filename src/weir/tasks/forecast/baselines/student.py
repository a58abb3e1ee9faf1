"""Student-t variates made from normal ones of the same probability, by a table."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

_LARGEST = 8.0
"""Normal variates beyond this are stretched as this one is; one in 10^15 lies there."""

_SIZES, _TAILS = 513, 257


@cache
def student_table() -> Tensor:
    """`log(t / z)` at sizes z of 0 to 8 and tails 1 / df of 0 to 1, `[tail, size]`.

    t is the Student-t quantile at the probability of z under the standard normal law. The
    logarithm of the stretch is smooth in both, so that linear interpolation is off by less than
    1e-4.
    """
    z = np.linspace(0, _LARGEST, _SIZES)
    z[0] = 1e-3  # the stretch has a limit at zero, reached to 1e-6 here
    tail = np.linspace(0, 1, _TAILS)[1:, None]
    stretch = np.log(-special.stdtrit(1 / tail, special.ndtr(-z)) / z)
    return torch.from_numpy(np.concatenate([np.zeros((1, _SIZES)), stretch])).float()


def student_from_normal(z: Tensor, df: Tensor, table: Tensor) -> Tensor:
    """Student-t quantile at the probability of `z` under the standard normal law.

    Args:
        z: `[batch, draw, ...]`, normal variates.
        df: `[batch, ...]`, degrees of freedom, at least 1.
        table: `student_table()` on the device of `z`.

    Returns:
        of the shape of `z`.
    """
    size = z.abs().clamp_(max=_LARGEST).mul_(2 / _LARGEST).sub_(1)
    tail = (2 / df - 1)[:, None].expand_as(z)
    # An image of one channel, sampled at as many places as there are variates.
    grid = torch.stack([size, tail], dim=-1).reshape(1, -1, 1, 2)
    stretch = F.grid_sample(
        table[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return z * stretch.reshape(z.shape).exp_()
