"""DLinear: two linear maps from history to future, one for the trend, one for the rest.

Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from weir.tasks.forecast.data.windows import Windows
from weir.training.objective import Objective

KERNEL = 25
"""Rows of the moving average that is taken for the trend."""


class DLinear(nn.Module):
    """Point forecaster, the same maps for all variables.

    Args:
        lookback: rows of history.
        horizon: steps to forecast.
    """

    def __init__(self, lookback: int, horizon: int) -> None:
        super().__init__()
        self.trend = nn.Linear(lookback, horizon)
        self.seasonal = nn.Linear(lookback, horizon)

    def forward(self, history: Tensor, start: Tensor) -> Tensor:
        """`[batch, horizon, variable]` of `history` `[batch, lookback, variable]`."""
        series = history.mT
        padded = F.pad(series, (KERNEL // 2, KERNEL // 2), mode="replicate")
        trend = F.avg_pool1d(padded, KERNEL, stride=1)
        return (self.trend(trend) + self.seasonal(series - trend)).mT

    point = forward


class DLinearObjective(Objective):
    """Mean squared error.

    Args:
        model: the network to train.
    """

    model: DLinear

    def __init__(self, model: DLinear) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Windows, progress: float) -> dict[str, Tensor]:
        """Means over windows, steps and variables of `loss` (the squared error) and `mae`."""
        error = self.model(batch.history, batch.start) - batch.future
        return {"loss": error.square().mean(), "mae": error.abs().mean()}
