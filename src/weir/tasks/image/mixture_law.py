"""An autoregressive law of mixtures of Gaussians: the last, most flexible layer of a flow.

As a map it takes each coordinate to the normal quantile of its mixture's distribution function. As
nothing comes after it, its density is that of the mixtures, and neither the quantile nor its
inverse is ever computed: likelihood and score are as cheap and as smooth as those of a Gaussian.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weir.errors import UserError
from weir.networks.causal import CausalNeighbourhood
from weir.networks.masked import MaskedResidual

TOLD = 16
"""Numbers of each coordinate that the network of all tells the one of neighbours."""

_BOUND = 9.0
"""Largest absolute log of a component's deviation."""


class MixtureLaw(nn.Module):
    """`p(z | context) = prod_i sum_k w_ik N(z_i; m_ik, s_ik^2)`, parameters given `z_1 .. z_(i-1)`.

    One network sees all coordinates before the i-th. Of pictures a second one may add what those
    near it tell; it is the same everywhere, so that strokes and edges need not be learnt anew at
    each place.

    Args:
        shape: of an event.
        context: width of contexts.
        components: of each mixture.
        width: hidden units of the network.
        blocks: its residual blocks.
        dropout: of its hidden units.
        convolved: components are those of the data, to which the noise's variance is added, so
            that no density is narrower than the noise; `start_at` tells where they begin. Else
            they are of what is noisy, and how noise widens them is learnt.
        radius: pixels to each side that the second network sees; 0 for none.
        local_width: its hidden units at each pixel.

    Raises:
        UserError: events without neighbours are to have some.

    References:
        Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation" (MADE MoG).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        context: int,
        *,
        components: int = 8,
        width: int = 256,
        blocks: int = 1,
        dropout: float = 0.0,
        convolved: bool = False,
        radius: int = 0,
        local_width: int = 64,
    ) -> None:
        super().__init__()
        size, self.each, self.convolved = math.prod(shape), 3 * components, convolved
        out = self.each + (TOLD if radius else 0)
        self.network = MaskedResidual(
            size, out, context, width=width, blocks=blocks, dropout=dropout
        )
        self.near: CausalNeighbourhood | None = None
        if radius:
            if len(shape) != 3:
                raise UserError(
                    "density.radius: needs pictures, whose pixels have neighbours, and these "
                    f"events have shape {list(shape)}; leave it out"
                )
            self.near = CausalNeighbourhood(
                shape, TOLD, context, self.each, radius=radius, width=local_width
            )
        with torch.no_grad():
            start = self.network.last.bias.view(size, out)[:, : self.each]
            start = start.unflatten(1, (3, components))
            # Components that differ, without which they would stay alike; together about normal.
            start[:, 1] = torch.linspace(-1.2, 1.2, components)
            start[:, 2] = math.log(0.6)

    @torch.no_grad()
    def start_at(self, z: Tensor) -> None:
        """Begin with mixtures that each coordinate follows by itself, whatever the context.

        Otherwise training has to narrow the components of every pixel that is nearly always
        background.

        Args:
            z: items `[item, size]` without noise.
        """
        weight, mean, log_scale = marginal_mixtures(z, self.each // 3)
        raw = _BOUND * torch.atanh((log_scale / _BOUND).clamp(-0.99, 0.99))
        bias = self.network.last.bias.view(self.network.size, -1)
        bias[:, : self.each] = torch.cat([weight.log(), mean, raw], 1)

    def log_prob(self, z: Tensor, context: Tensor, gate: Tensor) -> Tensor:
        """Log density `[item]` of `z`, `[item, size]`.

        Args:
            z: `[item, size]`.
            context: `[item, context]`.
            gate: `[item]`, 0 to 1: scales means and log deviations; 0 gives the standard normal.
        """
        raw = self.network(z, context)
        if self.near is not None:
            raw, told = raw.split([self.each, TOLD], -1)
            raw = raw + self.near(z, told, context)
        log_weight, mean, log_scale = self._mixture(raw, gate[:, None])
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
            raw = growing.outputs(coordinate)
            if self.near is not None:
                raw, told = raw.split([self.each, TOLD], -1)
                raw = raw + self.near.at(coordinate, growing.x, told, context)
            log_weight, mean, log_scale = self._mixture(raw, gate)
            below = log_weight.exp().cumsum(-1)[:, :-1] < rank[:, coordinate, None]
            chosen = below.sum(-1, keepdim=True)
            value = (
                mean.gather(1, chosen)[:, 0]
                + log_scale.gather(1, chosen)[:, 0].exp() * (white[:, coordinate])
            )
            growing.tell(coordinate, value)
        return growing.x

    def _mixture(self, raw: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log deviations, `[..., component]`, of raw `[..., each]`."""
        weight, mean, scale = raw.unflatten(-1, (3, -1)).unbind(-2)
        gate = gate[..., None]
        log_scale = _BOUND * torch.tanh(scale / _BOUND)
        if self.convolved:
            # u = gate z + sqrt(1 - gate^2) n: a component of z becomes one of u.
            noise = (1 - gate.square()).clamp(min=0)
            log_scale = 0.5 * (noise + gate.square() * (2 * log_scale).exp()).log()
        else:
            log_scale = gate * log_scale
        return weight.log_softmax(-1), gate * mean, log_scale


def marginal_mixtures(
    z: Tensor, components: int, *, steps: int = 30, floor: float = 1e-3, wide: float = 0.02
) -> tuple[Tensor, Tensor, Tensor]:
    """A mixture of Gaussians fitted to each coordinate alone by EM.

    The last component is as wide as all coordinates together and keeps a share of its own, for
    values that a coordinate has never shown.

    Args:
        z: `[item, coordinate]`, more items than components.
        components: of each mixture, two at least; they begin at quantiles.
        steps: of EM.
        floor: least deviation.
        wide: share of the wide component.

    Returns:
        weights, means and log deviations, `[coordinate, component]`.
    """
    narrow = components - 1
    at = (torch.arange(narrow, device=z.device) + 0.5) / narrow * len(z)
    mean = z.sort(dim=0).values[at.long()].T
    scale = (z.std(0)[:, None] / narrow).clamp(min=floor).expand_as(mean)
    weight = torch.full_like(mean, 1 / narrow)
    for _ in range(steps):
        off = z[..., None] - mean
        share = (weight.log() - scale.log() - 0.5 * (off / scale).square()).softmax(-1)
        mass = share.sum(0).clamp(min=1e-6)
        mean = (share * z[..., None]).sum(0) / mass
        scale = ((share * (z[..., None] - mean).square()).sum(0) / mass).sqrt().clamp(min=floor)
        weight = (mass / mass.sum(-1, keepdim=True)).clamp(min=1e-3)
    apart = torch.ones_like(mean[:, :1])
    return (
        torch.cat([weight * (1 - wide), wide * apart], 1),
        torch.cat([mean, z.mean() * apart], 1),
        torch.cat([scale, z.std() * apart], 1).log(),
    )
