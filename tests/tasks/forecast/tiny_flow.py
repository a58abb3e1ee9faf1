"""A residual flow small enough for tests, and a series with correlated noise for it."""

from __future__ import annotations

import torch

from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.flow.residual_flow import ResidualFlow
from weir.tasks.forecast.representation.itransformer import ITransformer

VARIABLES, LOOKBACK, HORIZON, WIDTH = 3, 12, 8, 8


def windows(rows: int = 400) -> WindowSet:
    """Windows of an autoregression whose first two variables share noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, VARIABLES, generator=generator)
    noise[:, 1] = 0.8 * noise[:, 0] + 0.6 * noise[:, 1]
    series = torch.zeros(rows, VARIABLES)
    for row in range(1, rows):
        series[row] = 0.8 * series[row - 1] + 0.5 * noise[row]
    return WindowSet(series, 0, rows, LOOKBACK, HORIZON)


def flow(**settings: object) -> ResidualFlow:
    """An untrained flow; `settings` are those of `ResidualFlow`."""
    torch.manual_seed(0)
    backbone = ITransformer(VARIABLES, LOOKBACK, HORIZON, width=WIDTH, layers=1, heads=2)
    return ResidualFlow(
        backbone,
        variables=VARIABLES,
        horizon=HORIZON,
        token=WIDTH,
        width=8,
        layers=1,
        heads=2,
        **settings,
    )


def stir(model: ResidualFlow) -> ResidualFlow:
    """Move the velocity network away from its zero output."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model
