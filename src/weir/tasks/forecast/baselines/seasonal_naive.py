"""Seasonal naive: the last cycle again, with the spread that this had in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weir.tasks.forecast.baselines.around_point import residuals
from weir.tasks.forecast.data.windows import WindowSet

LEVELS = 200
"""Equal parts into which quantiles cut the residuals of each step and variable."""


class SeasonalNaive(nn.Module):
    """Repeats the last `period` rows; spread from quantiles of the training residuals.

    Each step and variable is drawn by itself from its own quantiles.

    Args:
        variables: number of variables.
        horizon: steps to forecast.
        period: rows of the cycle; 1 repeats the last row.

    Attributes:
        quantile: `[level, horizon, variable]` at levels 1 / 200 to 199 / 200.
    """

    quantile: Tensor

    def __init__(self, variables: int, horizon: int, period: int) -> None:
        super().__init__()
        self.horizon, self.period = horizon, period
        self.register_buffer("quantile", torch.zeros(LEVELS - 1, horizon, variables))

    def fit(self, data: WindowSet) -> SeasonalNaive:
        """Take the residuals' quantiles from training windows."""
        errors = residuals(data, self.point)
        levels = torch.arange(1, LEVELS, device=errors.device, dtype=errors.dtype) / LEVELS
        # torch.quantile refuses large inputs, so one step at a time.
        for step in range(self.horizon):
            self.quantile[:, step] = torch.quantile(errors[:, step], levels, dim=0)
        return self

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The last cycle, `[batch, horizon, variable]`.

        Raises:
            ValueError: the history is shorter than the cycle.
        """
        if history.shape[1] < self.period:
            raise ValueError(
                f"a cycle of {self.period} rows does not fit into {history.shape[1]} of history"
            )
        step = torch.arange(self.horizon, device=history.device) % self.period
        return history[:, history.shape[1] - self.period + step]

    def sample(
        self,
        history: Tensor,
        start: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws `[batch, samples, horizon, variable]`; see `Forecaster.sample`."""
        point = self.point(history, start)[:, None]
        shape = (len(history), samples, *point.shape[2:])
        rank = torch.rand(shape, generator=generator, device=history.device) * LEVELS - 1
        rank = rank.clamp_(0, LEVELS - 2)
        below = rank.long().clamp_(max=LEVELS - 3)
        cell = torch.arange(point[0].numel(), device=history.device).reshape(point.shape[2:])
        flat = self.quantile.reshape(-1)
        place = below * cell.numel() + cell
        low, high = flat[place], flat[place + cell.numel()]
        return point + torch.lerp(low, high, rank - below)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """No network is called."""
        return 0
