"""The law of a grey level under noise: uniform in the level's cell, convolved with a Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import log_ndtr

_WIDE = 8.0
"""Noise over the half width of a cell beyond which a Gaussian of the same variance takes over: up
to six deviations out their log densities differ by less than .002, and the difference of two
distribution functions would lose its digits."""

_FAR = 1000.0
"""Deviations beyond a cell's edge from which on a log density falls no further: such a cell weighs
nothing, and single precision would not hold its slope."""


def log_cell(x: Tensor, half: Tensor, scale: Tensor) -> Tensor:
    """Log density at `x` of `half * U + scale * N`, `U` uniform in [-1, 1], `N` standard normal.

    Twice differentiable, and even in `x`. All three broadcast.

    Args:
        x: offset from the middle of the cell.
        half: half of its width, above 0.
        scale: of the noise, above 0.
    """
    wide = -0.5 * (x.square() / (variance := scale.square() + half.square() / 3) + variance.log())
    wide = wide - 0.5 * math.log(2 * math.pi)
    narrow = torch.minimum(scale, _WIDE * half)
    # On the left of the cell, where a distribution function is small, differences are exact.
    off = torch.minimum(x.abs(), half + _FAR * narrow)
    upper, lower = log_ndtr((half - off) / narrow), log_ndtr((-half - off) / narrow)
    exact = upper + torch.log1p(-(lower - upper).exp()) - (2 * half).log()
    return torch.where(scale < _WIDE * half, exact, wide)
