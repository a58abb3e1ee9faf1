"""Heads of a forecast: the marginal law of each value (location, scale and tail), and a linear
forecaster of each variable, fitted in closed form.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn
from torch.nn import functional

from weir.tasks.forecast.data.windows import WindowSet

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


Head = Literal["student_t", "gaussian", "point"]


class Marginal(NamedTuple):
    """One law per forecast value, `loc + scale * T` with T Student-t or standard normal.

    Attributes:
        loc: `[batch, horizon, variable]`, the median, and the mean.
        scale: `[batch, horizon, variable]`, positive.
        df: `[batch, horizon, variable]` degrees of freedom above 2; None for a normal law.
    """

    loc: Tensor
    scale: Tensor
    df: Tensor | None

    def nll(self, value: Tensor) -> Tensor:
        """Negative log-likelihood of `value`, elementwise, in nats."""
        z = (value - self.loc) / self.scale
        if self.df is None:
            return 0.5 * z.square() + self.scale.log() + 0.5 * math.log(2 * math.pi)
        half = 0.5 * self.df
        normaliser = torch.lgamma(half) - torch.lgamma(half + 0.5) + 0.5 * (math.pi * self.df).log()
        return normaliser + self.scale.log() + (half + 0.5) * torch.log1p(z.square() / self.df)

    def std(self) -> Tensor:
        """Standard deviation, elementwise."""
        return self.scale if self.df is None else self.scale * (self.df / (self.df - 2)).sqrt()

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of lying at or below `value`, elementwise; without gradient."""
        z = _numpy((value - self.loc) / self.scale)
        found = special.ndtr(z) if self.df is None else special.stdtr(_numpy(self.df), z)
        return self._tensor(found)

    def quantile(self, level: Tensor | float) -> Tensor:
        """Value below which the probability is `level`, elementwise; without gradient."""
        p = _numpy(level) if isinstance(level, Tensor) else level
        found = special.ndtri(p) if self.df is None else special.stdtrit(_numpy(self.df), p)
        return self.loc + self.scale * self._tensor(found)

    def crps(self, value: Tensor) -> Tensor:
        """Continuous ranked probability score of `value` in closed form; without gradient.

        The formulas of scoringrules, against which they are tested: importing it compiles for
        seconds, which every stage would pay.

        References:
            Jordan, Krueger, Lerch, Evaluating Probabilistic Forecasts with scoringRules, 2019.
        """
        z = _numpy((value - self.loc) / self.scale)
        if self.df is None:
            density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
            score = z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi)
            return self.scale * self._tensor(score)
        df = _numpy(self.df)
        density = (1 + z**2 / df) ** (-(df + 1) / 2) / (np.sqrt(df) * special.beta(0.5, df / 2))
        mean_distance = special.beta(0.5, df - 0.5) / special.beta(0.5, df / 2) ** 2
        score = (
            z * (2 * special.stdtr(df, z) - 1)
            + 2 * density * (df + z**2) / (df - 1)
            - 2 * np.sqrt(df) / (df - 1) * mean_distance
        )
        return self.scale * self._tensor(score)

    def draw(self, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Independent draws, `[batch, samples, horizon, variable]`.

        Student-t variates come from two uniforms by Bailey's polar method, which is exact for
        any degrees of freedom and, unlike a gamma sampler, takes a generator on every device.

        References:
            Bailey, Polar Generation of Random Variates with the t-Distribution, 1994.
        """
        shape = (self.loc.shape[0], samples, *self.loc.shape[1:])
        like = {"generator": generator, "device": self.loc.device, "dtype": self.loc.dtype}
        if self.df is None:
            noise = torch.randn(shape, **like)
        else:
            df = self.df[:, None]
            # 1 - rand lies in (0, 1]: the logarithm stays finite.
            squared_radius = df * torch.expm1(-2 / df * torch.log1p(-torch.rand(shape, **like)))
            noise = squared_radius.sqrt() * torch.cos(2 * math.pi * torch.rand(shape, **like))
        return self.loc[:, None] + self.scale[:, None] * noise

    def _tensor(self, array: np.ndarray | np.floating) -> Tensor:
        return torch.as_tensor(array, dtype=self.loc.dtype, device=self.loc.device)


def _numpy(x: Tensor) -> np.ndarray:
    """Double precision on the host, where scipy's special functions live."""
    return x.detach().double().cpu().numpy()
