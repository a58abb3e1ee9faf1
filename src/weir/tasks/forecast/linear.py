"""A linear forecaster for each variable, fitted in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.tasks.forecast.windows import WindowSet

CHUNK = 2048  # windows per term of the Gram matrix; fixed, so that the sum is always the same


class LinearForecaster(nn.Module):
    """Ridge regression of each variable's future on its own window, level and phase.

    The departure of the future from the window's mean is linear in (i) the window without its
    mean, (ii) that mean, which lets a level revert, and (iii) an indicator of the phase at which
    the future begins, which makes a cycle. Unfitted, it forecasts the mean of the window.

    Gradient descent finds these weights slowly, for the window's values are nearly collinear;
    in closed form they take a second. They are a buffer: training around them leaves them alone.

    Args:
        variables: number of variables.
        lookback: rows of history.
        horizon: rows of future.
        period: length of the cycle, in rows; None for none.

    References:
        Toner, Darlow, An Analysis of Linear Time Series Forecasting Models, ICML 2024.
    """

    weight: Tensor

    def __init__(self, variables: int, lookback: int, horizon: int, period: int | None) -> None:
        super().__init__()
        self.period = period
        features = lookback + 1 + (period or 0)
        self.register_buffer("weight", torch.zeros(variables, features, horizon))

    def forward(self, history: Tensor, start: Tensor) -> Tensor:
        """`[batch, horizon, variable]` from history `[batch, lookback, variable]`."""
        mean = history.mean(1, keepdim=True)
        features = self._features(history, mean, start)
        return mean + torch.einsum("bvf,vfh->bhv", features, self.weight)

    @torch.no_grad()
    def fit(self, windows: WindowSet, *, window: float, level: float, phase: float) -> None:
        """Set the weights to the ridge solution over all of `windows`.

        Args:
            windows: the training windows, standardised.
            window: penalty of the window's weights, in units of the window's mean square.
            level: penalty of the mean's weight; large for a level that does not revert.
            phase: penalty of the phases' weights.
        """
        gram = cross = torch.zeros((), dtype=torch.float64, device=self.weight.device)
        for items in torch.arange(len(windows)).split(CHUNK):
            history, future, start = windows.batch(items)
            mean = history.mean(1, keepdim=True)
            features = self._features(history, mean, start).double().transpose(0, 1)
            target = (future - mean).double().permute(2, 0, 1)
            gram = gram + features.mT @ features / len(windows)
            cross = cross + features.mT @ target / len(windows)
        lookback = windows.lookback
        penalty = gram.new_full(gram.shape[:2], phase)
        power = gram.diagonal(dim1=1, dim2=2)[:, :lookback].mean(1, keepdim=True)
        # A constant variable has no power; the absolute term keeps its system solvable.
        penalty[:, :lookback] = window * power + 1e-9
        penalty[:, lookback] = level
        self.weight.copy_(torch.linalg.solve(gram + torch.diag_embed(penalty), cross))

    def _features(self, history: Tensor, mean: Tensor, start: Tensor) -> Tensor:
        """`[batch, variable, lookback + 1 + period]`."""
        parts = [(history - mean).mT, mean.mT]
        if self.period:
            phase = functional.one_hot(start % self.period, self.period).to(history.dtype)
            parts.append(phase[:, None].expand(-1, history.shape[2], -1))
        return torch.cat(parts, dim=-1)
