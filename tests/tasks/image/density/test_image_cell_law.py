"""Densities of grey levels' cells under noise."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from weir.tasks.image.density.mixture_law import log_cell


@pytest.mark.parametrize("scale", [1e-4, 0.003, 0.03, 0.079, 0.081, 0.5, 3.0])
def test_a_cell_under_noise_is_a_difference_of_normal_distribution_functions(scale: float) -> None:
    half = torch.tensor(0.01)
    x = torch.cat([torch.linspace(-5, 5, 41) * scale, torch.linspace(-0.02, 0.02, 41)])
    x = x[x.abs() < 5 * scale + 0.01]
    exact = norm.cdf(-(x.abs().double() - 0.01) / scale) - norm.cdf(
        -(x.abs().double() + 0.01) / scale
    )
    found = log_cell(x, half, torch.tensor(scale))
    # Single precision moves an edge by a few units of rounding, which the sharpest ones notice.
    torch.testing.assert_close(
        found.double(), torch.tensor(exact / 0.02).log(), atol=3e-3, rtol=1e-3
    )


def test_slope_and_bend_are_those_of_double_precision_wherever_the_cell_lies() -> None:
    half, scale = torch.tensor(0.006), torch.tensor([2e-5, 1e-3, 0.01, 0.05, 1.0])[:, None]
    x = torch.tensor([-3.0, -0.5, -0.0061, -0.004, 0.0, 0.002, 0.0059, 0.02, 1.0, 6.0]).expand(
        5, -1
    )
    found = []
    for kind in (torch.float32, torch.float64):
        at = x.to(kind).clone().requires_grad_()
        log = log_cell(at, half.to(kind), scale.to(kind))
        (slope,) = torch.autograd.grad(log.sum(), at, create_graph=True)
        (bend,) = torch.autograd.grad(slope.square().sum(), at)
        for part in (log, slope, bend):
            assert bool(part.isfinite().all())
        found.append((slope * scale).detach().double())
    far = x.abs() > half + 100 * scale  # where cells weigh nothing, digits are few
    torch.testing.assert_close(found[0][~far], found[1][~far], atol=2e-2, rtol=2e-2)
