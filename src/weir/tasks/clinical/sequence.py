"""Models of a record's sequence of sets, and the time that they are told.

References:
    Kazemi et al., Time2Vec, 2019; Horn et al., SeFT, ICML 2020: sinusoids of real-valued time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.tasks.clinical.attention import MaskedBlock
from weir.tasks.clinical.forms import Form, in_groups, places

if TYPE_CHECKING:
    from weir.tasks.clinical.records import Records

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
        form: `packed` puts records within a ratio of lengths together.
        dropout: between layers.
        causal: whether a state depends on no later set.
    """

    def __init__(
        self, width: int, layers: int, form: Form, dropout: float, *, causal: bool
    ) -> None:
        super().__init__()
        self.form: Form = form
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
        return in_groups(
            x, owner, owners, lambda x, mask: gru(x)[0], self.form, slack=RECURRENT_SLACK
        )


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
        return in_groups(x, records.set_record, owners, self._run, self.form, slack=SLACK)

    def _run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x
