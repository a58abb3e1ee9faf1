"""Velocity field of latents: a base, and a perturbation part that vanishes with alpha."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from weir.networks.modulated import ModulatedMLP


class VelocityParts(NamedTuple):
    """Terms of a velocity, `[condition, draw, event]` each.

    Attributes:
        base: without a perturbation.
        alike: what the perturbation does to all cells alike.
        state: what it does depending on the cell's state, the time and the context.
    """

    base: Tensor
    alike: Tensor
    state: Tensor


class PerturbationField(nn.Module):
    """`v(x, t) = v_base(x, t, base) + S alpha + state * sum_k a_k(alpha) B_k(x, t, effect)`.

    S and the coefficients `a` are linear in alpha without a bias, so that alpha = 0 leaves the
    base, to the bit. Base and B are networks of their own: base contexts are known from all cells,
    effect contexts from perturbed ones alone.

    `S alpha` is what a perturbation does to every cell alike. The rest depends on the cell's state;
    with few contexts to learn that from it may fit them and no other, hence the factor `state`. For
    the factor to have a meaning, S has to be fitted as if it stood alone.

    Args:
        event: width of a latent.
        context: width of both contexts.
        alpha: width of alpha.
        base: whether there is a base; without, no perturbation means no motion.
        basis: number of fields B.
        state: share of the state-dependent part that is kept, 0 to 1.
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
        state: float = 1.0,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.0,
        student: bool = False,
    ) -> None:
        super().__init__()
        shape = {"width": width, "layers": layers, "dropout": dropout}
        self.base = ModulatedMLP(event, context, event, **shape) if base else None
        self.shift = nn.Linear(alpha, event, bias=False)
        nn.init.zeros_(self.shift.weight)
        self.basis = ModulatedMLP(event, context, basis * event, **shape) if state else None
        self.coefficient = nn.Linear(alpha, basis, bias=False)
        self.event, self.count, self.state = event, basis, state
        if student:
            self.add_step()

    def add_step(self) -> None:
        """Add the step-size input of a student; the velocity stays the same for any step."""
        for part in (self.base, self.basis):
            if part is not None:
                part.add_step()

    def parts(
        self,
        x: Tensor,
        t: Tensor,
        base: Tensor,
        effect: Tensor,
        alpha: Tensor,
        step: Tensor | None = None,
    ) -> VelocityParts:
        """The three terms of the velocity, the last one whole.

        Args:
            x: `[condition, draw, event]`.
            t: `[]`, `[condition]` or `[condition, draw]`.
            base: `[condition, context]`.
            effect: `[condition, context]`.
            alpha: `[condition, alpha]`.
            step: size of a student's step, of t's shape.
        """
        zero = torch.zeros_like(x)
        moved = zero
        if self.basis is not None:
            fields = self.basis(x, t, effect, step).unflatten(-1, (self.count, self.event))
            moved = (self.coefficient(alpha)[:, None, :, None] * fields).sum(-2)
        return VelocityParts(
            zero if self.base is None else self.base(x, t, base, step),
            self.shift(alpha)[:, None].expand_as(x),
            moved,
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        base: Tensor,
        effect: Tensor,
        alpha: Tensor,
        step: Tensor | None = None,
    ) -> Tensor:
        """Velocity `[condition, draw, event]`; arguments as in `parts`."""
        parts = self.parts(x, t, base, effect, alpha, step)
        return parts.base + (parts.alike + self.state * parts.state)
