"""Velocity field of latents: a base, and a perturbation part that vanishes with alpha."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.networks.adaln import ScalarEmbedding


class ModulatedMLP(nn.Module):
    """Residual two-layer networks with adaLN-zero modulation, and an output that starts at zero.

    The modulation's signal is narrow, since it differs from item to item and its maps would
    otherwise cost more than the layers themselves.

    Args:
        event: width of a latent.
        context: width of contexts.
        out: width of the output.
        width: hidden width.
        layers: residual layers.
        signal: width of the vector of time, step and context that modulates.
        dropout: dropout of the layers.
    """

    def __init__(
        self,
        event: int,
        context: int,
        out: int,
        *,
        width: int = 256,
        layers: int = 3,
        signal: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.signal = signal
        self.embed = nn.Linear(event, width)
        self.time = ScalarEmbedding(signal)
        self.context = nn.Linear(context, signal)
        self.layers = nn.ModuleList(_Layer(width, signal, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = _zero(nn.Linear(signal, 2 * width))
        self.out = _zero(nn.Linear(width, out))
        self.step: ScalarEmbedding | None = None

    def add_step(self) -> None:
        """Add the step-size input of a student; the output stays the same for any step."""
        self.step = ScalarEmbedding(self.signal).to(self.out.weight)
        self.step.silence()

    def forward(self, x: Tensor, t: Tensor, context: Tensor, step: Tensor | None = None) -> Tensor:
        """`[condition, draw, out]`.

        Args:
            x: `[condition, draw, event]`.
            t: `[]`, `[condition]` or `[condition, draw]`.
            context: `[condition, context]`.
            step: size of a student's step, of t's shape.
        """
        signal = self.time(t)
        if step is not None:
            if self.step is None:
                raise ValueError("this network has no step-size input; build it as a student")
            signal = signal + self.step(step)
        signal = signal.reshape(*signal.shape[:-1], *(1,) * (3 - signal.ndim), signal.shape[-1])
        signal = functional.silu(signal + self.context(context)[:, None])
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x, signal)
        shift, scale = self.modulation(signal).chunk(2, -1)
        return self.out(torch.addcmul(shift, 1 + scale, self.norm(x)))


class _Layer(nn.Module):
    def __init__(self, width: int, signal: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.modulation = _zero(nn.Linear(signal, 3 * width))

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(signal).chunk(3, -1)
        # 1 + gate, not gate: there is no attention that had to learn first, and a layer that
        # starts as the identity learns late.
        return x + (1 + gate) * self.mlp(torch.addcmul(shift, 1 + scale, self.norm(x)))


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class PerturbationField(nn.Module):
    """`v(x, t) = v_base(x, t, base) + sum_k a_k(alpha) B_k(x, t, effect)`.

    The coefficients `a` are linear in alpha without a bias, so that alpha = 0 leaves the base,
    to the bit. The two parts are networks of their own: base contexts are known from all cells,
    effect contexts from perturbed ones alone.

    Args:
        event: width of a latent.
        context: width of both contexts.
        alpha: width of alpha.
        base: whether there is a base; without, no perturbation means no motion.
        basis: number of fields B.
        width: hidden width.
        layers: residual layers.
        dropout: dropout of the layers.
        student: add a step-size input, zero at initialisation.
    """

    def __init__(
        self,
        event: int,
        context: int,
        alpha: int,
        *,
        base: bool = False,
        basis: int = 8,
        width: int = 256,
        layers: int = 3,
        dropout: float = 0.0,
        student: bool = False,
    ) -> None:
        super().__init__()
        shape = {"width": width, "layers": layers, "dropout": dropout}
        self.base = ModulatedMLP(event, context, event, **shape) if base else None
        self.basis = ModulatedMLP(event, context, basis * event, **shape)
        self.coefficient = nn.Linear(alpha, basis, bias=False)
        self.event, self.count = event, basis
        if student:
            self.add_step()

    def add_step(self) -> None:
        """Add the step-size input of a student; the velocity stays the same for any step."""
        if self.base is not None:
            self.base.add_step()
        self.basis.add_step()

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        base: Tensor,
        effect: Tensor,
        alpha: Tensor,
        step: Tensor | None = None,
    ) -> Tensor:
        """Velocity `[condition, draw, event]`.

        Args:
            x: `[condition, draw, event]`.
            t: `[]`, `[condition]` or `[condition, draw]`.
            base: `[condition, context]`.
            effect: `[condition, context]`.
            alpha: `[condition, alpha]`.
            step: size of a student's step, of t's shape.
        """
        fields = self.basis(x, t, effect, step).unflatten(-1, (self.count, self.event))
        moved = (self.coefficient(alpha)[:, None, :, None] * fields).sum(-2)
        return moved if self.base is None else self.base(x, t, base, step) + moved
