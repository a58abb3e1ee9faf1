"""Context of a cell: where a perturbation meets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

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

    def see(self, batch: Tensor, cell_type: Tensor) -> None:
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
