"""A normalising flow for the law of a noisy picture, given how noisy it is and its class.

Noise and class enter every layer as context, never as coordinates: what comes out is a density of
the picture alone. The parameters of all layers are scaled by the data's share of the deviation,
`sigma_data / sqrt(sigma^2 + sigma_data^2)`, so that the density tends to the standard normal, which
is the truth, as noise drowns the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import ComposedTransform, DependentTransform, MonotonicAffineTransform
from zuko.utils import broadcast, unpack

from weir.flows.edm import NoiseRange
from weir.networks.adaln import ScalarEmbedding
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.density.mixture_law import Cells, MixtureLaw
from weir.tasks.image.density.univariate import LogisticMixture, Spline, SumOfSquares

TransformName = Literal["mixture", "affine", "gaussianization", "sos", "spline"]
ActivationName = Literal["silu", "gelu", "tanh", "softplus", "relu"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "relu": nn.ReLU,
}


class Density(nn.Module):
    """`log q(u | sigma, class)` of `u = x / sqrt(sigma^2 + sigma_data^2)`, exactly.

    Args:
        shape: of an event.
        classes: number of classes; the label `classes` stands for no class.
        noise: range of noises; less than its least counts as none.
        transform: map of each coordinate: `affine`; `mixture`, affine but in the last layer,
            which is a `MixtureLaw`; `gaussianization` (mixtures of logistic laws) and `sos` (sums
            of squares), which are smooth and not affine; `spline` (rational-quadratic), whose
            score jumps.
        coupling: half of the coordinates given the other half in each layer, so that drawing costs
            one pass; otherwise autoregressive, one pass for each coordinate.
        layers: maps that follow each other; their orders of coordinates differ.
        hidden: widths of the layers of each map's network; those of a `MixtureLaw` have the
            first's width, and each further one stands for a residual block.
        activation: between them; `relu` has a score that jumps.
        components: components of a mixture, bins of a spline, polynomials of a sum.
        embedding: width of the context.
        dropout: of the hidden units of a `MixtureLaw`.
        convolved: whether its components are those of the data, widened by the noise.
        levels: number of grey levels with a component of their own.
        neighbours: radius and width of its network of neighbours, for pictures; None for none.

    References:
        Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation";
        Dinh et al. 2017, "Density Estimation using Real NVP".
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        noise: NoiseRange | None = None,
        transform: TransformName,
        coupling: bool = False,
        layers: int,
        hidden: Sequence[int] = (256, 256),
        activation: ActivationName = "silu",
        components: int = 8,
        embedding: int,
        dropout: float = 0.0,
        convolved: bool = False,
        levels: int = 0,
        neighbours: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.learnt_below = math.inf
        self.shape = tuple(shape)
        self.size = math.prod(shape)
        self.noise = NoiseRange() if noise is None else noise
        self.level = ScalarEmbedding(embedding)
        self.label = nn.Embedding(classes + 1, embedding)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.law: MixtureLaw | None = None
        if transform == "mixture":
            self.law = MixtureLaw(
                self.shape,
                embedding,
                components=components,
                width=hidden[0],
                blocks=len(hidden) - 1,
                dropout=dropout,
                convolved=convolved,
                levels=levels,
                neighbours=neighbours,
            )
            transform, layers = "affine", layers - 1
        univariate, shapes = _univariate(transform, components)
        settings: dict[str, Any] = {
            "univariate": univariate,
            "shapes": shapes,
            "hidden_features": tuple(hidden),
            "activation": ACTIVATIONS[activation],
        }
        # The gate is a further column of the context.
        context = embedding + 1
        self.layers = nn.ModuleList()
        for layer in range(layers):
            if coupling:
                mask = _mask(self.shape, layer)
                made = _GatedCoupling(self.size, context, mask=mask, **settings)
            else:
                order = _order(self.size, layer)
                made = _GatedAutoregressive(self.size, context, order=order, **settings)
            _start_near_the_identity(made.hyper[-1], univariate, shapes)
            self.layers.append(made)

    def start_at(self, z: Tensor, cells: Cells | None = None) -> None:
        """Begin with what each coordinate follows by itself; see `MixtureLaw.start_at`.

        Raises:
            ValueError: the last layer is no `MixtureLaw`.
        """
        if self.law is None:
            raise ValueError("only a MixtureLaw begins at the data")
        self.law.start_at(z, cells)

    def log_prob(self, u: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """Log density `[item]`, in nats.

        Args:
            u: `[item, *shape]`.
            sigma: `[item]`, event units.
            label: `[item]` int64.
        """
        context, gate = self._context(sigma, label)
        z, log_slope = u.flatten(1), u.new_zeros(())
        if self.layers:
            z, log_slope = self._maps(context, gate).call_and_ladj(z)
        if self.law is not None:
            return log_slope + self.law.log_prob(z, context, gate)
        return log_slope - 0.5 * z.square().sum(-1) - 0.5 * self.size * math.log(2 * math.pi)

    @torch.no_grad()
    def sample(
        self, sigma: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw `[item, *shape]` of each item's law."""
        context, gate = self._context(sigma, label)
        if self.law is not None:
            z = self.law.sample(context, gate, generator)
        else:
            z = torch.randn(len(label), self.size, generator=generator, device=label.device)
        if self.layers:
            z = self._maps(context, gate).inv(z)
        return z.unflatten(1, self.shape)

    def transform(self, sigma: Tensor, label: Tensor) -> Transform:
        """The map from `u`, `[item, size]`, to white noise, or to what a `MixtureLaw` describes."""
        return self._maps(*self._context(sigma, label))

    def _maps(self, context: Tensor, gate: Tensor) -> Transform:
        joined = torch.cat([context, gate[:, None]], 1)
        return ComposedTransform(*(layer(joined) for layer in self.layers))

    def _context(self, sigma: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """What layers are told, `[item, embedding]`, and the data's share of the deviation."""
        context = self.mix(self.level(self.noise.level(sigma)) + self.label(label))
        return context, SIGMA_DATA * (sigma.square() + SIGMA_DATA**2).rsqrt()


def _parameters(layer: Any, context: Tensor, x: Tensor) -> Transform:
    """The univariate maps of a layer, their parameters scaled by the context's last column."""
    joined = torch.cat(broadcast(x, context, ignore=1), dim=-1)
    phi = layer.hyper(joined) * context[..., -1:]
    phi = unpack(phi.unflatten(-1, (-1, layer.total)), layer.shapes)
    return DependentTransform(layer.univariate(*phi), 1)


class _GatedAutoregressive(MaskedAutoregressiveTransform):
    def meta(self, c: Tensor, x: Tensor) -> Transform:
        return _parameters(self, c, x)


class _GatedCoupling(GeneralCouplingTransform):
    def meta(self, c: Tensor, x: Tensor) -> Transform:
        return _parameters(self, c, x)


def _univariate(name: TransformName, components: int) -> tuple[Any, list[tuple[int, ...]]]:
    """Constructor of a map of one coordinate, and the shapes of its parameters."""
    match name:
        case "affine":
            return partial(MonotonicAffineTransform, slope=1e-3), [(), ()]
        case "gaussianization":
            return LogisticMixture, [(components,)] * 3
        case "sos":
            return SumOfSquares, [(), (components, 4)]
        case _:
            return Spline, [(components,), (components,), (components - 1,)]


def _start_near_the_identity(
    last: nn.Linear, univariate: Any, shapes: list[tuple[int, ...]]
) -> None:
    """Small parameters; those of components differ, without which they would stay alike."""
    with torch.no_grad():
        last.weight.mul_(0.01)
        last.bias.zero_()
        if univariate is LogisticMixture:
            (components,) = shapes[0]
            per_coordinate = last.bias.view(-1, 3, components)
            per_coordinate[:, 1] = torch.linspace(-1, 1, components)
        elif univariate is SumOfSquares:
            last.bias.normal_(std=0.02)


def _order(size: int, layer: int) -> Tensor:
    """Order of the coordinates: forwards, backwards, then at random but always the same."""
    order = torch.arange(size)
    if layer < 2:
        return order if layer == 0 else order.flip(0)
    return torch.randperm(size, generator=torch.Generator().manual_seed(layer))


def _mask(shape: tuple[int, ...], layer: int) -> Tensor:
    """Coordinates that a coupling keeps: a chessboard and its inverse, then random halves."""
    size = math.prod(shape)
    if layer < 2:
        at = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).sum(0)
        return at.flatten() % 2 == layer % 2
    order = torch.randperm(size, generator=torch.Generator().manual_seed(layer // 2))
    return order % 2 == layer % 2
