"""New records of a flow: events in bins, and bins unpacked to sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.flows.solvers import SolverName, require_finite
from weir.tasks.clinical.bin_data import UNKNOWN_OUTCOME, BinBatch
from weir.tasks.clinical.bin_decoder import BinLaw
from weir.tasks.clinical.records import Records

if TYPE_CHECKING:
    from weir.tasks.clinical.flow import RecordFlow
    from weir.tasks.clinical.grid import Grid

STAMPS = 65
"""Number of events of a bin, plus one, beyond which time stamps are not told apart."""


@torch.no_grad()
def synthesise(
    model: RecordFlow,
    static: Tensor,
    outcome: Tensor,
    end: Tensor,
    generator: torch.Generator | None = None,
    *,
    steps: int | None = None,
    solver: SolverName | None = None,
    chunk: int = 512,
) -> Records:
    """A new record for each row of static features, with the outcome told.

    Args:
        model: in evaluation mode.
        static: `[record, static]`.
        outcome: `[record]` 0 or 1.
        end: `[record]` hours.
        generator: of all draws, on the model's device.
        steps: solver steps, or jumps of a student.
        solver: solver of a teacher.
        chunk: records at a time.

    Raises:
        WeirError: a generated value is not finite.
    """
    parts = [
        _some(model, *rows, generator, steps, solver)
        for rows in zip(*(t.split(chunk) for t in (static, outcome, end)), strict=True)
    ]
    return join(parts)


def _some(
    model: RecordFlow,
    static: Tensor,
    outcome: Tensor,
    end: Tensor,
    generator: torch.Generator | None,
    steps: int | None,
    solver: SolverName | None,
) -> Records:
    grid, codes = model.grid, model.codes
    nothing = static.new_zeros(len(static), grid.bins, codes)
    inside = grid.inside(end)
    batch = BinBatch(
        mean=static.new_zeros(len(static), grid.bins, model.vae.d_latent),
        log_variance=static.new_zeros(len(static), grid.bins, model.vae.d_latent),
        occupied=torch.zeros_like(inside),
        hidden=inside,
        count=nothing,
        values=nothing,
        total=nothing,
        square=nothing,
        static=static,
        outcome=torch.where(outcome.isnan(), UNKNOWN_OUTCOME, outcome),
        end=end,
    )
    condition = model.condition(batch)
    x = model.source(condition, 1, generator)
    x = model.transport(x, condition, steps=steps, solver=solver).final[:, 0]
    law = model.decoder(x[..., :-1], condition.token)
    full = (x[..., -1] > 0) & inside
    count = model.decoder.draw_counts(law, generator) * full[..., None]
    count = _never_empty(count, full, law.counts)
    # One row an event: record, bin and code.
    cell = torch.arange(count.numel(), device=count.device).repeat_interleave(count.flatten())
    code = cell % codes + 1
    white = torch.empty(len(cell), device=static.device).normal_(generator=generator)
    score = law.mean.flatten()[cell] + law.sd.flatten()[cell] * white
    chance = torch.empty_like(score).uniform_(generator=generator)
    measured = chance < model.decoder.valued[code - 1]
    value = require_finite(model.marginals.values(score, code), "generated value", "in synthesise")
    value = _repeated(model, law, count, cell, score, value, generator)
    owner = cell // codes
    time = _times(owner, end, grid, model.stamps, generator)
    return pack(
        owner // grid.bins,
        time,
        code,
        value.masked_fill(~measured, 0.0),
        measured,
        static,
        end,
        outcome,
    )


def _repeated(
    model: RecordFlow,
    law: BinLaw,
    count: Tensor,
    cell: Tensor,
    score: Tensor,
    value: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Values `[event]`, of which some are the code's last ones again, bin after bin.

    Args:
        model: the flow.
        law: of the bins, `[record, bin, ...]`.
        count: `[record, bin, code]` events.
        cell: `[event]` int64 ascending, number of its place in `count`.
        score: `[event]`, as drawn.
        value: `[event]`, as drawn.
        generator: of the draws.
    """
    has = count > 0
    # The last event of each bin and code stands for it.
    final = torch.cat([cell[1:] != cell[:-1], cell.new_ones(1, dtype=torch.bool)])[: len(cell)]
    scores, values = (
        torch.zeros_like(law.mean).flatten().index_copy(0, cell[final], drawn[final]).view_as(has)
        for drawn in (score, value)
    )
    chance = torch.empty_like(law.mean).uniform_(generator=generator)
    last_score, last_value = torch.zeros_like(scores[:, 0]), torch.zeros_like(scores[:, 0])
    seen = torch.zeros_like(has[:, 0])
    kept, again = values.clone(), torch.zeros_like(has)
    for place in range(count.shape[1]):
        here = BinLaw(*(part[:, place] for part in law))
        likely = model.decoder.repeats(here, last_score).sigmoid()
        same = has[:, place] & seen & (chance[:, place] < likely)
        again[:, place] = same
        new = has[:, place] & ~same
        kept[:, place] = torch.where(same, last_value, values[:, place])
        last_score = torch.where(new, scores[:, place], last_score)
        last_value = torch.where(new, values[:, place], last_value)
        seen = seen | has[:, place]
    return torch.where(again.flatten()[cell], kept.flatten()[cell], value)


def _never_empty(count: Tensor, full: Tensor, logits: Tensor) -> Tensor:
    """Counts, with the likeliest code once in bins that are full by the flow but drew nothing."""
    bare = full & (count.sum(-1) == 0)
    likeliest = logits[..., 0].argmin(-1, keepdim=True)
    return torch.where(bare[..., None], torch.zeros_like(count).scatter_(-1, likeliest, 1), count)


def _times(
    owner: Tensor, end: Tensor, grid: Grid, stamps: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Hours of events, `[event]`: a bin's events share as few time stamps as in training.

    Whole minutes, uniform over the bin's part before the record's end. The first event of a record
    is its origin: at 0.

    Args:
        owner: `[event]` int64 ascending, record times bins plus bin.
        end: `[record]` hours.
        grid: of the bins.
        stamps: mean number of time stamps of a bin by its number of events.
        generator: of the draws.
    """
    if not len(owner):
        return torch.zeros(0, device=owner.device)
    found, number, size = owner.unique_consecutive(return_inverse=True, return_counts=True)
    wanted = stamps[size.clamp_max(STAMPS - 1)]
    extra = torch.empty_like(wanted).uniform_(generator=generator)
    wanted = (wanted + extra).floor().clamp_min(1)
    # Each event goes to one of its bin's stamps.
    chance = torch.empty(2, len(owner), device=owner.device).uniform_(generator=generator)
    stamp = (chance[0] * wanted[number]).long().clamp_max(STAMPS - 1)
    places = torch.empty(len(found), STAMPS, device=owner.device).uniform_(generator=generator)
    record, place = found // grid.bins, found % grid.bins
    start = place * grid.width
    length = (torch.minimum(start + grid.width, end[record]) - start).clamp_min(0)
    minute = ((start[:, None] + places * length[:, None]) * 60).floor()
    at = minute[number, stamp]
    first = torch.full_like(end, torch.inf).scatter_reduce_(0, record[number], at, "amin")
    return (at - first[record[number]]) / 60


def pack(
    record: Tensor,
    time: Tensor,
    code: Tensor,
    value: Tensor,
    measured: Tensor,
    static: Tensor,
    end: Tensor,
    outcome: Tensor,
) -> Records:
    """Events in any order as packed records; those of one record and time are a set.

    Args:
        record: `[event]` int64.
        time: `[event]` hours.
        code: `[event]` int64.
        value: `[event]` standardised.
        measured: `[event]` bool.
        static: `[record, static]`.
        end: `[record]`.
        outcome: `[record]`.
    """
    order = time.argsort(stable=True)
    order = order[record[order].argsort(stable=True)]
    record, time, code = record[order], time[order], code[order]
    new = torch.ones_like(record, dtype=torch.bool)
    new[1:] = (record[1:] != record[:-1]) | (time[1:] != time[:-1])
    return Records(
        code=code,
        value=value[order],
        measured=measured[order],
        event_set=new.cumsum(0) - 1,
        time=time[new],
        set_record=record[new],
        static=static,
        end=end,
        outcome=outcome,
    )


def join(parts: list[Records]) -> Records:
    """Batches one after the other, as one."""
    sets = records = 0
    moved = []
    for part in parts:
        moved.append(
            part._replace(event_set=part.event_set + sets, set_record=part.set_record + records)
        )
        sets, records = sets + len(part.time), records + len(part.outcome)
    return Records(*(torch.cat(columns) for columns in zip(*moved, strict=True)))
