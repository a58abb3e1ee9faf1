"""An autoregressive law of mixtures of Gaussians: the last, most flexible layer of a flow.

As a map it takes each coordinate to the normal quantile of its mixture's distribution function. As
nothing comes after it, its density is that of the mixtures, and neither the quantile nor its
inverse is ever computed: likelihood and score are as cheap and as smooth as those of a Gaussian.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weir.networks.masked import MaskedResidual

_BOUND = 9.0
"""Largest absolute log of a component's deviation."""


class MixtureLaw(nn.Module):
    """`p(z | context) = prod_i sum_k w_ik N(z_i; m_ik, s_ik^2)`, parameters given `z_1 .. z_(i-1)`.

    Args:
        size: coordinates.
        context: width of contexts.
        components: of each mixture.
        width: hidden units of the network.
        blocks: its residual blocks.
        dropout: of its hidden units.

    References:
        Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation" (MADE MoG).
    """

    def __init__(
        self,
        size: int,
        context: int,
        *,
        components: int = 8,
        width: int = 256,
        blocks: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = MaskedResidual(
            size, 3 * components, context, width=width, blocks=blocks, dropout=dropout
        )
        with torch.no_grad():
            start = self.network.last.bias.view(size, 3, components)
            # Components that differ, without which they would stay alike; together about normal.
            start[:, 1] = torch.linspace(-1.2, 1.2, components)
            start[:, 2] = math.log(0.6)

    def log_prob(self, z: Tensor, context: Tensor, gate: Tensor) -> Tensor:
        """Log density `[item]` of `z`, `[item, size]`.

        Args:
            z: `[item, size]`.
            context: `[item, context]`.
            gate: `[item]`, 0 to 1: scales means and log deviations; 0 gives the standard normal.
        """
        log_weight, mean, log_scale = _mixture(self.network(z, context), gate[:, None])
        square = ((z[..., None] - mean) * (-log_scale).exp()).square()
        each = log_weight - log_scale - 0.5 * square
        return torch.logsumexp(each, -1).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)

    @torch.no_grad()
    def sample(
        self, context: Tensor, gate: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw `[item, size]` for each item."""
        shape = (2, len(context), self.network.size)
        rank = torch.rand(shape[1:], generator=generator, device=context.device)
        white = torch.randn(shape[1:], generator=generator, device=context.device)
        growing = self.network.growing(context)
        for coordinate in range(self.network.size):
            log_weight, mean, log_scale = _mixture(growing.outputs(coordinate), gate)
            below = log_weight.exp().cumsum(-1)[:, :-1] < rank[:, coordinate, None]
            chosen = below.sum(-1, keepdim=True)
            value = (
                mean.gather(1, chosen)[:, 0]
                + log_scale.gather(1, chosen)[:, 0].exp() * (white[:, coordinate])
            )
            growing.tell(coordinate, value)
        return growing.x


def _mixture(raw: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, means and log deviations, `[..., component]`, of raw `[..., 3 component]`."""
    weight, mean, scale = raw.unflatten(-1, (3, -1)).unbind(-2)
    gate = gate[..., None]
    return weight.log_softmax(-1), gate * mean, gate * _BOUND * torch.tanh(scale / _BOUND)
