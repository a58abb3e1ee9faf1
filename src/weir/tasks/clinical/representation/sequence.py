"""Models of a record's sequence of sets, their blocks, and the time that they are told.

The transformer's blocks look at a mask; they serve among the events of a set as well.

References:
    Kazemi et al., Time2Vec, 2019; Horn et al., SeFT, ICML 2020: sinusoids of real-valued time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weir.networks.attention import MLP, Attention
from weir.tasks.clinical.representation.ragged import apply_by_group, places

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records


class MaskedAttention(Attention):
    """Self-attention among the tokens of each group."""

    def masked(self, tokens: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """`[group, place, width]` to the same.

        Args:
            tokens: `[group, place, width]`, padded at the end.
            mask: `[group, place]`, True for tokens; None where nothing is padded.
            causal: whether a token sees only those before it and itself; then padding, which comes
                after, needs no mask.
        """
        query = self._split(self.query(tokens))
        key, value = (self._split(part) for part in self.key_value(tokens).chunk(2, -1))
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None or causal else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self.output(mixed.transpose(1, 2).flatten(2))


class MaskedBlock(nn.Module):
    """Pre-norm residual block: attention within each group, then an MLP on each token.

    Args:
        width: width of the tokens.
        heads: attention heads; divides `width`.
        dropout: dropout of the attention weights and of both branches.
        causal: whether a token sees only those before it and itself.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.attention_norm = nn.LayerNorm(width)
        self.attention = MaskedAttention(width, heads, dropout)
        self.residual = ResidualMLP(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """`[group, place, width]` to the same; `mask` as of `MaskedAttention`."""
        mixed = self.attention.masked(self.attention_norm(tokens), mask, self.causal)
        return self.residual(tokens + self.dropout(mixed))


class ResidualMLP(nn.Module):
    """Two layers on each token by itself, added to it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = MLP(width, 2.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., width]` to the same."""
        return tokens + self.dropout(self.mlp(self.norm(tokens)))


PERIODS = 8
"""Sinusoids of time, with periods from one hour to twice the horizon."""


SLACK, RECURRENT_SLACK = 1.25, 4.0
"""Ratios of lengths that are padded to one another where records are packed: little by the
transformer, whose work grows with the padding; more by the GRU, whose work on a CPU grows with the
number of its steps, so that few groups are best."""


class Clock(nn.Module):
    """Time of each set as features: sinusoids, and how long ago the set before was.

    Args:
        horizon: longest time of a training record, hours.
    """

    frequency: Tensor
    features = 2 * PERIODS + 2

    def __init__(self, horizon: float) -> None:
        super().__init__()
        longest = 2 * max(horizon, 1.0)
        periods = torch.logspace(0, math.log10(longest), PERIODS)
        self.register_buffer("frequency", 2 * math.pi / periods, persistent=False)

    def forward(self, records: Records) -> Tensor:
        """`[set, features]`; depends on nothing later than the set."""
        time = records.time
        angle = time[:, None] * self.frequency
        gap = time.diff(prepend=time[:1])
        same = records.set_record.diff(prepend=records.set_record[:1] - 1) == 0
        gap = torch.where(same, gap, 0.0)
        slow = torch.stack([time.log1p() / 4, gap.clamp(min=0).log1p()], 1)
        return torch.cat([angle.sin(), angle.cos(), slow], 1)


class GRU(nn.Module):
    """Gated recurrent units along each record; unless causal a second one from its end on.

    Padding comes last and so changes no state. Torch's own packed sequences need none, but on a CPU
    the time of their backward pass grows with the square of the length.

    Args:
        width: width of the vectors.
        layers: recurrent layers.
        dropout: between layers.
        causal: whether a state depends on no later set.
    """

    def __init__(self, width: int, layers: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        hidden = width if causal else width // 2
        self.onward = nn.GRU(width, hidden, layers, batch_first=True, dropout=between)
        self.from_end = None
        if not causal:
            self.from_end = nn.GRU(width, hidden, layers, batch_first=True, dropout=between)

    def forward(self, x: Tensor, records: Records) -> Tensor:
        """`[set, width]` to the same."""
        owner, owners = records.set_record, len(records.outcome)
        found = self._run(self.onward, x, owner, owners)
        if self.from_end is None:
            return found
        place, count = places(owner, owners)
        mirrored = torch.arange(len(x), device=x.device)
        mirrored += count.index_select(0, owner) - 1 - 2 * place
        other = self._run(self.from_end, x.index_select(0, mirrored), owner, owners)
        return torch.cat([found, other.index_select(0, mirrored)], -1)

    def _run(self, gru: nn.GRU, x: Tensor, owner: Tensor, owners: int) -> Tensor:
        if not len(x):
            return x.new_zeros(0, gru.hidden_size)
        return apply_by_group(x, owner, owners, lambda x, mask: gru(x)[0], slack=RECURRENT_SLACK)


class SequenceTransformer(nn.Module):
    """Attention among the sets of each record.

    Args:
        width: width of the vectors.
        layers: transformer blocks.
        heads: attention heads.
        dropout: dropout of the blocks.
        causal: whether a state depends on no later set.
    """

    def __init__(
        self, width: int, layers: int, heads: int, dropout: float, *, causal: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            MaskedBlock(width, heads, dropout, causal=causal) for _ in range(layers)
        )

    def forward(self, x: Tensor, records: Records) -> Tensor:
        """`[set, width]` to the same."""
        owners = len(records.outcome)
        return apply_by_group(x, records.set_record, owners, self._run, slack=SLACK)

    def _run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x
