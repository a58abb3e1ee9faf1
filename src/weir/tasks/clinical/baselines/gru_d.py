"""GRU-D: a recurrent network whose inputs and state decay while nothing is measured.

Reference: Che, Purushotham, Cho, Sontag, Liu, Recurrent Neural Networks for Multivariate Time
Series with Missing Values, Scientific Reports 8 (2018) 6085.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.tasks.clinical.baselines.constants import Fitted
from weir.tasks.clinical.flow.grid import Grid, carry_forward, merge, tally
from weir.tasks.clinical.representation.member_head import first_logit
from weir.tasks.clinical.representation.stage1 import RiskObjective

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records

FAR = 5.0
"""Values are clipped at this many standard deviations."""


class GRUD(Fitted):
    """Gated recurrent units on a grid of bins, told which codes have values and since when not.

    A value that is missing in a bin is taken as the last one, drawn to the training mean (zero) at
    a pace learnt for each code; the state fades at paces learnt from how long each code has had no
    value. Static features join the last state.

    Args:
        codes: number of known codes.
        static: number of static features.
        grid: of the bins.
        prevalence: share of the outcome in training, which the untrained network predicts.
        hidden: width of the state.
        dropout: of the last state.
    """

    def __init__(
        self,
        codes: int,
        static: int,
        grid: Grid,
        prevalence: float,
        *,
        hidden: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.codes, self.grid = codes, grid
        self.input_pace = nn.Parameter(torch.full((codes,), 0.1))
        self.input_start = nn.Parameter(torch.zeros(codes))
        self.state_pace = nn.Linear(codes, hidden)
        self.cell = nn.GRUCell(2 * codes, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden + static, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, first_logit(prevalence))

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Nothing is left to fit after the training."""

    def risk(self, records: Records) -> Tensor:
        """See `Fitted.risk`."""
        last = self.dropout(self.states(records)[:, -1])
        return self.head(torch.cat([last, records.static], 1))[:, 0]

    def states(self, records: Records) -> Tensor:
        """State after each bin, `[record, bin, hidden]`; that of bins after a record's end is the
        last one before."""
        grid = self.grid
        events = tally(merge(records, grid), grid, self.codes, records.value.clamp(-FAR, FAR))
        has = events.values > 0
        value, since = self.inputs(events.mean, has)
        told = torch.cat([value, has.to(value)], -1)
        fading = torch.exp(-functional.relu(self.state_pace(since)))
        inside = grid.inside(records.end)[..., None]
        state = value.new_zeros(len(value), self.cell.hidden_size)
        found = []
        for place in range(grid.bins):
            new = self.cell(told[:, place], fading[:, place] * state)
            state = torch.where(inside[:, place], new, state)
            found.append(state)
        return torch.stack(found, 1)

    def inputs(self, mean: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
        """What the cell is told of values, and hours since the last value before each bin.

        Args:
            mean: `[record, bin, code]` of the bin's values, 0 for none.
            has: `[record, bin, code]` whether there are any.

        Returns:
            Both `[record, bin, code]`. Time begins with the record: a code without a value so far
            has been without for as long as the record is.
        """
        last, age = carry_forward(mean, has)
        number = torch.arange(mean.shape[1], device=mean.device, dtype=mean.dtype)
        age = torch.minimum(age, number[:, None])
        since = torch.cat([torch.zeros_like(age[:, :1]), age[:, :-1] + 1], 1) * self.grid.width
        near = torch.exp(-functional.relu(self.input_pace * since + self.input_start))
        return torch.where(has, mean, near * last), since


class GRUDObjective(RiskObjective):
    """Cross-entropy of the outcome.

    Args:
        model: the network.
    """

    model: GRUD

    def __init__(self, model: GRUD) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Records, progress: float) -> dict[str, Tensor]:
        """`loss`; in evaluation also the logit `risk` and the `outcome` of each record."""
        logit = self.model.risk(batch)
        loss = functional.binary_cross_entropy_with_logits(logit, batch.outcome)
        if self.training:
            return {"loss": loss}
        return {"loss": loss, "risk": logit, "outcome": batch.outcome}
