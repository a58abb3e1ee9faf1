"""Imputation: hidden bins and cells of records, filled in by a flow or a baseline."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from weir.flows.solvers import SolverName, require_finite
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.flow.grid import BinEvents, Grid, merge, show, tally
from weir.tasks.clinical.flow.items import Query, by_code
from weir.tasks.clinical.flow.neighbours import AutoregressiveState, Neighbours, around
from weir.tasks.clinical.flow.synthesis import BinwiseFlow, repeated


class Imputation(NamedTuple):
    """Bins of some records in which something was hidden, filled in.

    Values are standardised as `Records.value` is.

    Attributes:
        record: `[hidden]` int64, number of the record in the batch, ascending.
        bin: `[hidden]` int64, ascending within a record.
        asked: `[hidden, code]` bool, which codes were hidden there.
        mean: `[hidden, code]`, expected value of a code if measured in the bin.
        samples: `[hidden, sample, code]`, such values, codes of one sample drawn together.
        rate: `[hidden, code]`, expected events.
    """

    record: Tensor
    bin: Tensor
    asked: Tensor
    mean: Tensor
    samples: Tensor
    rate: Tensor


class Filler(Protocol):
    """A model that fills in what is hidden on its grid."""

    grid: Grid

    def fill(
        self,
        records: Records,
        hidden: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Imputation:
        """Values and events of hidden bins or cells, given the others.

        Bins after a record's end are never filled; neither outcome nor what is hidden is looked
        at.

        Args:
            records: a batch.
            hidden: `[record, bin]` bool, or `[record, bin, code]` with unknown codes' column first.
            samples: draws of each bin's values.
            steps: solver steps of a flow, jumps of a student; others ignore it.
            solver: solver of a flow that is no student; others ignore it.
            generator: of all draws, on the records' device.
        """
        ...


@torch.no_grad()
def fill(
    model: BinwiseFlow,
    records: Records,
    hidden: Tensor,
    samples: int,
    *,
    steps: int | None = None,
    solver: SolverName | None = None,
    generator: torch.Generator | None = None,
) -> Imputation:
    """See `weir.tasks.clinical.flow.filling.Filler.fill`.

    The law of each single value is the decoder's without a code, which training fits to that very
    question. How the values of one sample go together is told by records made bin after bin, each
    with a code drawn by the flow: of each value the draws of its law are dealt to the samples in
    the order of the values made there (ensemble copula coupling; Schefzik et al. 2013).

    Raises:
        WeirError: a value is not finite.
    """
    grid, decoder = model.grid, model.decoder
    hidden = by_code(hidden, model.codes + 1)
    told = model.condition(
        Query(records, hidden, torch.zeros_like(records.outcome, dtype=torch.bool))
    )
    hidden_known = hidden[..., 1:] & grid.inside(records.end)[..., None]
    seen = show(records, grid, hidden)
    score = model.marginals.scores(seen.value, seen.code)
    events = tally(merge(seen, grid), grid, model.codes, score)
    record, place = hidden_known.any(-1).nonzero(as_tuple=True)
    beside = Neighbours(*(part[record, place] for part in around(events, ~hidden_known)))
    alone = decoder(decoder.read(None, told.vector[record], beside, place), beside)
    x = model.source(told, samples, generator)
    x = model.transport(x, told, steps=steps, solver=solver).final
    code = model.decode(x, told)
    made, rate = _in_turn(model, code, told.vector, events, hidden_known, generator)
    rank = made[record, :, place].argsort(1).argsort(1)
    white = torch.empty_like(rank, dtype=alone.mean.dtype).normal_(generator=generator)
    draws = white.sort(1).values.gather(1, rank)
    score = alone.mean[:, None] + alone.sd[:, None] * draws
    values = require_finite(model.marginals.dense_values(score), "filled value", "in fill")
    mean = model.marginals.expected(alone.mean, alone.sd)
    return Imputation(record, place, hidden_known[record, place], mean, values, rate[record, place])


def _in_turn(
    model: BinwiseFlow,
    code: Tensor,
    told: Tensor,
    events: BinEvents,
    hidden: Tensor,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Scores of all codes in all bins, made one bin after the other, and expected events.

    Args:
        model: the flow.
        code: `[record, draw, code]`.
        told: `[record, told]`.
        events: what is shown, `[record, bin, code]`.
        hidden: `[record, bin, code]` bool.
        generator: of the draws.

    Returns:
        `[record, draw, bin, code]`, also of codes that were not measured there, and
        `[record, bin, code]`.
    """
    decoder = model.decoder
    state = AutoregressiveState(events, ~hidden)
    scores, rates = [], []
    white = code.new_zeros(*code.shape[:2], model.codes)
    for place in range(model.grid.bins):
        here = hidden[:, None, place]
        near = state.current()
        if not bool(here.any()):
            scores.append(torch.zeros_like(white))
            rates.append(torch.zeros_like(told[:, :1]).expand(-1, model.codes))
            state.update(white, torch.zeros_like(here))
            continue
        law = decoder.made(code, told[:, None], near, place, generator)
        count = decoder.draw_counts(law, generator)
        # The mean of so many values.
        sd = law.sd / count.clamp_min(1).sqrt()
        score = law.mean + sd * white.normal_(generator=generator)
        score = torch.where(repeated(law, near.past, generator), near.before, score)
        chance = torch.empty_like(score).uniform_(generator=generator)
        state.update(score, here & (count > 0) & (chance < decoder.valued))
        scores.append(score)
        rates.append(decoder.expected_counts(law).mean(1))
    return torch.stack(scores, 2), torch.stack(rates, 1)
