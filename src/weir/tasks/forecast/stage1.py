"""Stage 1 of forecasting: an inverted transformer with a location, scale and tail for each value.

One token per variable holds that variable's whole window; attention mixes the variables. Before
that a learned daily cycle is taken off and each window is normalised by its own mean and a floored
scale; a linear map from window to forecast, shared by all variables, runs beside the transformer.

References:
    Liu et al., iTransformer: Inverted Transformers Are Effective for Time Series Forecasting,
    ICLR 2024. Lin et al., CycleNet: Enhancing Time Series Forecasting through Modeling Periodic
    Patterns, NeurIPS 2024. Kim et al., Reversible Instance Normalization, ICLR 2022.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weir.networks.attention import TransformerBlock
from weir.tasks.forecast.heads import Head, Marginal
from weir.tasks.forecast.windows import Windows
from weir.training.objective import Objective


class Normalised(NamedTuple):
    """A window without its cycle, mean and scale.

    Attributes:
        window: `[batch, variable, lookback]`, of mean 0 and deviation at most 1.
        mean: `[batch, 1, variable]`.
        scale: `[batch, 1, variable]`, at least the floor.
    """

    window: Tensor
    mean: Tensor
    scale: Tensor


class Cycle(nn.Module):
    """A learned value for each phase of a cycle and each variable.

    Args:
        period: length of the cycle, in rows.
        variables: number of variables.
    """

    def __init__(self, period: int, variables: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(period, variables))

    def forward(self, start: Tensor, first: int, last: int) -> Tensor:
        """`[batch, last - first, variable]`: rows `start + first` to `start + last`."""
        rows = start[:, None] + torch.arange(first, last, device=start.device)
        return self.table[rows % len(self.table)]


class ITransformer(nn.Module):
    """Inverted transformer that forecasts a law for each value.

    Args:
        variables: number of variables.
        lookback: rows of history.
        horizon: rows of future.
        width: width of a variable's token.
        layers: transformer blocks.
        heads: attention heads; divides `width`.
        dropout: dropout of embedded tokens and blocks.
        head: `student_t`, `gaussian`, or `point` for a forecast without spread.
        cycle: period of the learned cycle, in rows; None for none.
        linear_skip: add a linear map from history to future.
        floor: least scale of a window, in standard deviations of the training rows.
    """

    def __init__(
        self,
        variables: int,
        lookback: int,
        horizon: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        head: Head = "student_t",
        cycle: int | None = None,
        linear_skip: bool = True,
        floor: float = 0.1,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.head: Head = head
        self.floor = floor
        self.cycle = Cycle(cycle, variables) if cycle else None
        self.embed = nn.Linear(lookback + 2, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, dropout, ratio=2.0) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.location = zeroed(nn.Linear(width, horizon))
        self.skip = zeroed(nn.Linear(lookback, horizon, bias=False)) if linear_skip else None
        if head != "point":
            self.log_scale = zeroed(nn.Linear(width, horizon))
            self.base_log_scale = nn.Parameter(torch.zeros(variables, horizon))
        if head == "student_t":
            self.tail = zeroed(nn.Linear(width, horizon))
            self.base_tail = nn.Parameter(torch.full((variables, 1), 2.0))

    def normalise(self, history: Tensor, start: Tensor) -> Normalised:
        """Take cycle, mean and floored scale off `history` `[batch, lookback, variable]`."""
        if self.cycle is not None:
            history = history - self.cycle(start, -history.shape[1], 0)
        mean = history.mean(1, keepdim=True)
        centred = history - mean
        # Floored: a near-constant window would otherwise be blown up, and its forecast with it.
        scale = (centred.square().mean(1, keepdim=True) + self.floor**2).sqrt()
        return Normalised((centred / scale).transpose(1, 2), mean, scale)

    def encode(self, history: Tensor, start: Tensor) -> Tensor:
        """One token per variable, `[batch, variable, width]`.

        Args:
            history: `[batch, lookback, variable]`, standardised.
            start: `[batch]` int64, row at which the future begins.
        """
        return self._tokens(self.normalise(history, start))

    def forward(self, history: Tensor, start: Tensor) -> Marginal:
        """The law of each value of the future, `[batch, horizon, variable]`.

        With the `point` head the scale is the window's own, a yardstick and no spread.
        """
        normalised = self.normalise(history, start)
        return self._marginal(normalised, self._tokens(normalised), start)

    def describe(self, history: Tensor, start: Tensor) -> tuple[Tensor, Marginal]:
        """Tokens and law at the price of one pass, for a second stage that needs both."""
        normalised = self.normalise(history, start)
        tokens = self._tokens(normalised)
        return tokens, self._marginal(normalised, tokens, start)

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The deterministic forecast, `[batch, horizon, variable]`."""
        return self(history, start).loc

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
        """Draws of each value by itself, `[batch, samples, horizon, variable]`.

        The head knows nothing of how values hang together; `steps` and `solver` have no meaning.
        """
        marginal = self(history, start)
        if self.head == "point":
            return marginal.loc[:, None].expand(-1, samples, -1, -1)
        return marginal.draw(samples, generator)

    def nfe(self, steps: int | None = None) -> int:
        """Network calls per sample."""
        return 1

    def _tokens(self, normalised: Normalised) -> Tensor:
        # Mean and scale are taken off the window but carry information: two features restore them.
        features = torch.cat([normalised.mean, normalised.scale.log()], dim=1).transpose(1, 2)
        tokens = self.dropout(self.embed(torch.cat([normalised.window, features], dim=-1)))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def _marginal(self, normalised: Normalised, tokens: Tensor, start: Tensor) -> Marginal:
        loc = self.location(tokens)
        if self.skip is not None:
            loc = loc + self.skip(normalised.window)
        loc = loc.transpose(1, 2) * normalised.scale + normalised.mean
        if self.cycle is not None:
            loc = loc + self.cycle(start, 0, self.horizon)
        if self.head == "point":
            return Marginal(loc, normalised.scale.expand_as(loc), None)
        log_scale = (self.log_scale(tokens) + self.base_log_scale).transpose(1, 2)
        scale = log_scale.exp() * normalised.scale
        if self.head == "gaussian":
            return Marginal(loc, scale, None)
        # Above 2 the variance is finite, which a second stage that standardises residuals needs.
        df = 2 + F.softplus((self.tail(tokens) + self.base_tail).transpose(1, 2))
        return Marginal(loc, scale, df)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """`layer` with weights and bias 0, so that training starts from the persistence of the mean."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Stage1Objective(Objective):
    """Negative log-likelihood plus squared error of the location.

    The `point` head has no likelihood and is trained on the squared error alone.

    Args:
        model: the network to train.
        point_weight: weight of the squared error beside the likelihood.
    """

    model: ITransformer

    def __init__(self, model: ITransformer, point_weight: float = 0.5) -> None:
        super().__init__()
        self.model = model
        self.point_weight = point_weight

    def forward(self, batch: Windows, progress: float) -> dict[str, Tensor]:
        """Means over windows, steps and variables of `loss`, `mse`, `mae` and `nll`.

        In evaluation mode also `crps`, the closed-form score of each value's law (for the `point`
        head the absolute error, its limit without spread).
        """
        marginal = self.model(batch.history, batch.start)
        error = batch.future - marginal.loc
        found = {"mse": error.square().mean(), "mae": error.abs().mean()}
        if self.model.head == "point":
            found["loss"] = found["mse"]
        else:
            found["nll"] = marginal.nll(batch.future).mean()
            found["loss"] = found["nll"] + self.point_weight * found["mse"]
        if not self.training:
            spread = self.model.head != "point"
            found["crps"] = marginal.crps(batch.future).mean() if spread else found["mae"]
        return found

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms, the cycle and the base of the head do not."""
        decayed, free = [], []
        for name, parameter in self.model.named_parameters():
            matrix = parameter.ndim >= 2 and name.endswith("weight")
            (decayed if matrix else free).append(parameter)
        return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
