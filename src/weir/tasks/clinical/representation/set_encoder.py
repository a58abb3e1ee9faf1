"""Encoders of sets of events: a vector for each set, whatever the order of its events.

`PoolingEncoder` weighs a set's events by attention and adds them up; `AttentionEncoder` lets them
look at one another first. The first never makes a vector for an event: one `embedding_bag` reads
the table and adds up, which makes sets all but free beside the rest of the network.

References:
    Lee et al., Set Transformer, ICML 2019: pooling by attention.
    Horn et al., Set Functions for Time Series, ICML 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weir.tasks.clinical.representation.decoder import ValueCodes, mixed
from weir.tasks.clinical.representation.ragged import (
    apply_by_group,
    places,
    segment_softmax,
    segment_sum,
)
from weir.tasks.clinical.representation.sequence import MaskedBlock

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records

PIECE = 512
"""Events that attend to one another at most: larger sets do so in pieces of that many, so that the
work is linear in their size. Pooling is over the whole set."""


class PoolingEncoder(nn.Module):
    """Events weighed by a softmax over their set and added up.

    Args:
        codes: number of codes, with the unknown one.
        knots: knots of a code's values.
        width: width of a set's vector.
    """

    def __init__(self, codes: int, knots: int, width: int) -> None:
        super().__init__()
        self.places = ValueCodes(codes, knots)
        self.events = self.places.table(width)
        self.score = nn.Parameter(torch.zeros(self.places.rows))

    def forward(self, records: Records) -> Tensor:
        """`[set, width]`; 0 for a set without events."""
        sets = len(records.time)
        if not len(records.code):
            return self.events.new_zeros(sets, self.events.shape[1])
        index, fraction = located = self.places(records)
        _, count = places(records.event_set, sets)
        share = segment_softmax(mixed(self.score, located), records.event_set, sets)
        # Softmax forgets how many there are.
        share = share * (1 + count.to(share).clamp(min=1).log()).index_select(0, records.event_set)
        weight = torch.stack([share * (1 - fraction), share * fraction], 1)
        return F.embedding_bag(
            torch.stack([index, index + 1], 1).flatten(),
            self.events,
            2 * (count.cumsum(0) - count),
            mode="sum",
            per_sample_weights=weight.flatten().to(self.events.dtype),
        )


class AttentionEncoder(nn.Module):
    """Self-attention among a set's events, then pooling by attention.

    Args:
        codes: number of codes, with the unknown one.
        knots: knots of a code's values.
        width: width of an event's and of a set's vector.
        layers: transformer blocks.
        heads: attention heads, of the blocks and of pooling.
        dropout: dropout of the blocks.
    """

    def __init__(
        self,
        codes: int,
        knots: int,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.places = ValueCodes(codes, knots)
        self.events = self.places.table(width)
        self.blocks = nn.ModuleList(MaskedBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, heads)
        self.number = nn.Linear(1, width)

    def forward(self, records: Records) -> Tensor:
        """`[set, width]`; of a set without events the vector of an empty one."""
        sets, owner = len(records.time), records.event_set
        tokens = mixed(self.events, self.places(records))
        place, count = places(owner, sets)
        begins = (place % PIECE == 0).long()
        tokens = apply_by_group(tokens, begins.cumsum(0) - 1, int(begins.sum()), self._attend)
        tokens = self.norm(tokens)
        share = segment_softmax(self.score(tokens), owner, sets)
        weighed = tokens.unflatten(-1, (self.heads, -1)) * share[..., None]
        pooled = segment_sum(weighed.flatten(1), owner, sets)
        return pooled + self.number(count.to(pooled).log1p()[:, None])

    def _attend(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens
