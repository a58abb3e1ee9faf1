"""What a flow is told of a record, bin by bin: from what is shown, whatever is hidden."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from weir.networks.attention import TransformerBlock
from weir.tasks.clinical.bin_data import UNKNOWN_OUTCOME, BinBatch
from weir.tasks.clinical.grid import carry_forward

_MEMORY = 6.0
"""Bins after which what was carried over has faded to 1 / e."""


class Carried(NamedTuple):
    """The shown values next to each bin, of every code, `[record, bin, code]` each.

    Attributes:
        before: mean score of the latest shown bin with a value, this one included; 0 for none.
        fresh: `exp(-bins since then / 6)`; 0 for none.
        after: mean score of the earliest later bin; 0 for none.
        near: `exp(-bins until then / 6)`; 0 for none.
        level: mean score of all shown bins of the record with a value, drawn to 0 as if one more
            had that; the same in every bin.
        sure: n / (n + 1) of the n bins behind the level, likewise.
    """

    before: Tensor
    fresh: Tensor
    after: Tensor
    near: Tensor
    level: Tensor
    sure: Tensor


def carry(batch: BinBatch, shown: Tensor) -> Carried:
    """Values of shown bins, `[record, bin]` bool, carried over to all, and their level."""
    has = (batch.values > 0) & shown[..., None]
    score = batch.events.mean
    before, past = carry_forward(score, has)
    after, future = (side.flip(1) for side in carry_forward(score.flip(1), has.flip(1)))
    number = has.sum(1, keepdim=True)
    level = (score * has).sum(1, keepdim=True) / (number + 1)
    return Carried(
        before,
        torch.exp(-past / _MEMORY),
        after,
        torch.exp(-future / _MEMORY),
        level.expand_as(score),
        (number / (number + 1)).expand_as(score),
    )


class Context(NamedTuple):
    """What is told of each bin.

    Attributes:
        token: `[record, bin, width]`.
        carried: the shown values next to it.
    """

    token: Tensor
    carried: Carried


class BinContext(nn.Module):
    """Transformer over the bins: shown latents and values, static features, outcome and end.

    The values themselves are told beside the latents, each carried over from the nearest shown
    bins on both sides: a latent says what was measured in its bin, but what a code's value will
    be when next measured may have been measured long ago.

    Args:
        d_latent: of the first stage.
        codes: number of known codes.
        static: number of static features.
        bins: of the grid.
        hours: of the grid.
        width: of the tokens.
        layers: transformer blocks.
        heads: attention heads; divides `width`.
        dropout: of the blocks.
    """

    def __init__(
        self,
        d_latent: int,
        codes: int,
        static: int,
        bins: int,
        hours: float,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hours = hours
        self.bin = nn.Linear(d_latent + 4, width)
        self.values = nn.Linear(len(Carried._fields) * codes, width)
        # Static features, the end, and the outcome as three cases.
        self.record = nn.Sequential(
            nn.Linear(static + 4, width), nn.GELU(), nn.Linear(width, width)
        )
        self.place = nn.Parameter(0.02 * torch.randn(bins, width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, dropout, ratio=2.0) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, batch: BinBatch, latent: Tensor, inside: Tensor) -> Context:
        """What is told of each bin.

        Args:
            batch: the records.
            latent: `[record, bin, d_latent]` standardised; only shown bins are looked at.
            inside: `[record, bin]` bool, bins before the record's end.
        """
        shown = inside & ~batch.hidden
        full = shown & batch.occupied
        carried = carry(batch, shown)
        flags = torch.stack([shown, full, inside, batch.hidden], -1).to(latent.dtype)
        token = self.bin(torch.cat([latent * full[..., None], flags], -1))
        token = token + self.values(torch.cat(carried, -1)) + self.place
        cases = torch.stack([batch.outcome == case for case in (UNKNOWN_OUTCOME, 0.0, 1.0)], -1)
        about = [batch.static, (batch.end / self.hours)[:, None], cases.to(latent.dtype)]
        token = token + self.record(torch.cat(about, -1))[:, None]
        for block in self.blocks:
            token = block(token)
        return Context(self.norm(token), carried)
