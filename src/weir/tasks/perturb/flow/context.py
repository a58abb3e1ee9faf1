"""Encoders of what a flow is told: a cell's context, and the perturbation that meets it there.

Perturbations become a vector that is zero without one. What must be known of the data's schema is
kept as tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from weir.tasks.perturb.data.schema import Schema

DoseCurve = Literal["hill", "log", "hill_and_log"]


class DoseFeatures(nn.Module):
    """Curves of a dose, each zero at dose 0.

    * `hill`: `d^s / (EC50^s + d^s)` with a learnt EC50 and slope s of each perturbation, both
      positive: increasing and saturating.
    * `log`: `log(1 + d)`: increasing without bound.
    * `hill_and_log`: both, each with an embedding of its own; an effect may then turn round.

    Doses are divided by a unit per perturbation first, so that those of the data are of order one.

    Args:
        unit: `[perturbation]`, positive.
        curve: which.
    """

    unit: Tensor

    def __init__(self, unit: Tensor, curve: DoseCurve = "hill") -> None:
        super().__init__()
        if curve not in ("hill", "log", "hill_and_log"):
            raise ValueError(f"unknown dose curve {curve!r}; known: hill, log, hill_and_log")
        self.curve = curve
        self.count = 2 if curve == "hill_and_log" else 1
        self.register_buffer("unit", unit.float().clone())
        if curve != "log":
            self.log_ec50 = nn.Parameter(torch.zeros(len(unit)))
            self.log_slope = nn.Parameter(torch.zeros(len(unit)))

    def forward(self, doses: Tensor) -> Tensor:
        """`[cell, perturbation]` to `[cell, perturbation, curve]`."""
        relative = doses / self.unit
        curves = []
        if self.curve != "log":
            present = doses > 0
            # log 0 never arises, so that neither does the NaN of its gradient.
            log = torch.where(present, relative, 1.0).log()
            hill = torch.sigmoid(self.log_slope.exp() * (log - self.log_ec50))
            curves.append(torch.where(present, hill, 0.0))
        if self.curve != "hill":
            curves.append(torch.log1p(relative))
        return torch.stack(curves, -1)


class PerturbationAdapter(nn.Module):
    """`alpha(doses, context)`, exactly zero where all doses are zero, whatever the context.

    The set of perturbations enters as a sum of dose curves times embeddings, plus a factorised
    term for each pair that is present together (Rendle 2010, "Factorization Machines"), all
    without biases; a positive gate of the context scales the coordinates.

    Args:
        unit: `[perturbation]`, unit of each perturbation's dose.
        context: width of contexts.
        width: width of alpha.
        curve: dose curve, see `DoseFeatures`.
        interaction: rank of the pairwise term; 0 for none.
    """

    def __init__(
        self,
        unit: Tensor,
        context: int,
        *,
        width: int = 32,
        curve: DoseCurve = "hill",
        interaction: int = 8,
    ) -> None:
        super().__init__()
        self.doses = DoseFeatures(unit, curve)
        self.width = width
        self.effect = nn.Parameter(torch.randn(len(unit), self.doses.count, width))
        self.factor = self.mix = None
        if interaction:
            shape = (len(unit), self.doses.count, interaction)
            self.factor = nn.Parameter(torch.randn(shape) / interaction**0.5)
            self.mix = nn.Linear(interaction, width, bias=False)
        self.gate = nn.Linear(context, width)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, doses: Tensor, context: Tensor) -> Tensor:
        """`alpha`, `[cell, width]`.

        Args:
            doses: `[cell, perturbation]`, in the data's units, zero where absent.
            context: `[cell, context]`.
        """
        curves = self.doses(doses)
        alpha = torch.einsum("npf,pfw->nw", curves, self.effect)
        if self.factor is not None and self.mix is not None:
            alpha = alpha + self.mix(self._pairs(curves))
        return alpha * (2 * torch.sigmoid(self.gate(context)))

    def _pairs(self, curves: Tensor) -> Tensor:
        """Sum over pairs i < j of the product of their factors, `[cell, rank]`.

        With less than two perturbations it is exactly zero: both sums then have one term.
        """
        assert self.factor is not None
        single = (curves[..., None] * self.factor).sum(2)
        return (single.sum(1).square() - single.square().sum(1)) / 2


@dataclass(frozen=True)
class Vocabulary:
    """Names of the schema as codes.

    Attributes:
        batches: number of batches; their codes run from 1.
        cell_types: number of cell types; their codes run from 1.
        niche: width of the spatial features.
        conditions: `[condition, perturbation]` doses; row 0 is the control.
        unit: `[perturbation]`, typical positive dose of each perturbation.
        contexts: `[batches + 1, cell_types + 1]` int64, number of the matched context of a batch
            and a cell type plus one; 0 for none.
        log_library: mean and standard deviation of the logarithm of a cell's total count.
    """

    batches: int
    cell_types: int
    niche: int
    conditions: Tensor
    unit: Tensor
    contexts: Tensor
    log_library: tuple[float, float]

    @classmethod
    def of(cls, schema: Schema) -> Vocabulary:
        """The vocabulary of a set of cells."""
        perturbations = schema.perturbations
        conditions = torch.zeros(len(schema.conditions), len(perturbations))
        for row, condition in enumerate(schema.conditions):
            for name, dose in condition.doses.items():
                conditions[row, perturbations.index(name)] = dose
        batches, cell_types = schema.batches, schema.cell_types
        contexts = torch.zeros(len(batches) + 1, len(cell_types) + 1, dtype=torch.int64)
        for number, context in enumerate(schema.contexts):
            # A column that was not matched on has no name here, and every code belongs.
            batch, cell_type = context.batch, context.cell_type
            rows = slice(None) if batch is None else batches.index(batch) + 1
            columns = slice(None) if cell_type is None else cell_types.index(cell_type) + 1
            contexts[rows, columns] = number + 1
        return cls(
            len(batches),
            len(cell_types),
            schema.niche,
            conditions,
            # A perturbation without a training dose has no typical one.
            torch.tensor([u if u > 0 else 1.0 for u in schema.dose_scale], dtype=torch.float32),
            contexts,
            (schema.library.mean, schema.library.sd),
        )


Role = Literal["batch", "cell_type", "niche"]


class Codes(NamedTuple):
    """What is known of a cell besides its expression.

    Attributes:
        batch: `[cell]` int64, 0 for unknown.
        cell_type: `[cell]` int64, 0 for unknown.
        niche: `[cell, niche]` features of its surroundings in the tissue; width 0 without.
    """

    batch: Tensor
    cell_type: Tensor
    niche: Tensor


class ContextEncoder(nn.Module):
    """Sum of an embedding per categorical role and a small network on the niche.

    Row 0 of an embedding stands for "unknown". It is trained, because codes are dropped at random
    during training, and it answers for every code that training never showed (see `see`): the
    embedding of a category without training items is whatever it was initialised to.

    Args:
        batches: number of known batches.
        cell_types: number of known cell types.
        niche: width of the spatial features.
        width: width of the context.
        roles: which of them enter; none makes every context zero.
        unknown: chance of dropping a code in training.
    """

    seen_batch: Tensor
    seen_cell_type: Tensor

    def __init__(
        self,
        batches: int,
        cell_types: int,
        niche: int,
        *,
        width: int = 32,
        roles: Sequence[Role] = ("batch", "cell_type", "niche"),
        unknown: float = 0.1,
    ) -> None:
        super().__init__()
        self.width, self.unknown = width, unknown
        self.batch = _embedding(batches, width) if "batch" in roles else None
        self.cell_type = _embedding(cell_types, width) if "cell_type" in roles else None
        self.niche = (
            nn.Sequential(nn.Linear(niche, width), nn.SiLU(), nn.Linear(width, width))
            if "niche" in roles and niche
            else None
        )
        self.register_buffer("seen_batch", torch.ones(batches + 1, dtype=torch.bool))
        self.register_buffer("seen_cell_type", torch.ones(cell_types + 1, dtype=torch.bool))

    def mark_observed_codes(self, batch: Tensor, cell_type: Tensor) -> None:
        """Treat as unknown from now on every code that is not among these, `[cell]` each."""
        for buffer, codes in ((self.seen_batch, batch), (self.seen_cell_type, cell_type)):
            buffer.zero_()
            buffer[codes.unique().to(buffer.device)] = True

    def forward(self, codes: Codes) -> Tensor:
        """Contexts `[cell, width]`."""
        total = torch.zeros(len(codes.batch), self.width, device=codes.batch.device)
        if self.batch is not None:
            total = total + self.batch(self._known(codes.batch, self.seen_batch))
        if self.cell_type is not None:
            total = total + self.cell_type(self._known(codes.cell_type, self.seen_cell_type))
        if self.niche is not None:
            total = total + self.niche(codes.niche)
        return total

    def _known(self, code: Tensor, seen: Tensor) -> Tensor:
        code = torch.where(seen[code], code, 0)
        if self.training and self.unknown:
            dropped = torch.rand(code.shape, device=code.device) < self.unknown
            code = torch.where(dropped, 0, code)
        return code


def _embedding(categories: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(categories + 1, width)
    nn.init.normal_(embedding.weight, std=0.5)
    return embedding
