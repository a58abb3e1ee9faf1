"""Models of a record's sequence of sets, and the time that they are told.

References:
    Kazemi et al., Time2Vec, 2019; Horn et al., SeFT, ICML 2020: sinusoids of real-valued time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from weir.tasks.clinical.attention import MaskedBlock
from weir.tasks.clinical.forms import Form, in_groups, places

if TYPE_CHECKING:
    from weir.tasks.clinical.records import Records

PERIODS = 8
"""Sinusoids of time, with periods from one hour to twice the horizon."""


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
    """Gated recurrent units along each record; in both directions unless causal.

    Args:
        width: width of the vectors.
        layers: recurrent layers.
        form: `loop`, `padded`, or `packed`: all records at once, step by step, without padding.
        dropout: between layers.
        causal: whether a state depends on no later set.
    """

    def __init__(
        self, width: int, layers: int, form: Form, dropout: float, *, causal: bool
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.causal = causal
        self.recurrent = nn.GRU(
            width,
            width if causal else width // 2,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=not causal,
        )

    def forward(self, x: Tensor, records: Records) -> Tensor:
        """`[set, width]` to the same."""
        if not len(x):
            return x
        owner, owners = records.set_record, len(records.outcome)
        if self.form != "packed":
            return in_groups(x, owner, owners, self._run, self.form, exact=False)
        place, count = places(owner, owners)
        # Step by step, in each step the longest records first.
        rank = torch.empty_like(count)
        rank[count.argsort(descending=True, stable=True)] = torch.arange(owners, device=x.device)
        order = (place * owners + rank.index_select(0, owner)).argsort()
        out, _ = self.recurrent(PackedSequence(x.index_select(0, order), place.bincount().cpu()))
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=x.device)
        return out.data.index_select(0, back)

    def _run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None or self.causal:
            return self.recurrent(x)[0]
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), True, enforce_sorted=False)
        return pad_packed_sequence(self.recurrent(packed)[0], True, total_length=x.shape[1])[0]


class SequenceTransformer(nn.Module):
    """Attention among the sets of each record.

    Args:
        width: width of the vectors.
        layers: transformer blocks.
        heads: attention heads.
        form: `packed` puts records of about equal length together.
        dropout: dropout of the blocks.
        causal: whether a state depends on no later set.
    """

    def __init__(
        self, width: int, layers: int, heads: int, form: Form, dropout: float, *, causal: bool
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.blocks = nn.ModuleList(
            MaskedBlock(width, heads, dropout, causal=causal) for _ in range(layers)
        )

    def forward(self, x: Tensor, records: Records) -> Tensor:
        """`[set, width]` to the same."""
        owners = len(records.outcome)
        return in_groups(x, records.set_record, owners, self._run, self.form, exact=False)

    def _run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x
