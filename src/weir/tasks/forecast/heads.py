"""Marginal laws of a forecast: a location, a scale and a tail for each value."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor

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
