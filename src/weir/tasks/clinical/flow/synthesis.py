"""New records of a flow: bins one after the other, and bins unpacked to sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from weir.flows.solvers import SolverName, require_finite
from weir.tasks.clinical.data.records import Records, RecordSet
from weir.tasks.clinical.flow.bin_decoder import BinDecoder, BinLaw
from weir.tasks.clinical.flow.grid import BinEvents, Grid
from weir.tasks.clinical.flow.neighbours import AutoregressiveState

STAMPS = 65
"""Number of events of a bin, plus one, beyond which time stamps are not told apart."""

PIECE = 512
"""Records that are made at a time."""


class BinwiseFlow(Protocol):
    """A flow of records' codes whose bins are decoded one after the other.

    Attributes:
        vae: its first stage.
        grid: of the bins.
        codes: number of codes, without the unknown one.
        decoder: makes the events of a bin.
        marginals: of each code's values.
        stamps: `[events]`, time stamps of a bin with 0, 1, 2, ... events, on average.
        outcomes: of synthetic records: as they are `told`, or `drawn`.
    """

    vae: Any
    grid: Grid
    codes: int
    decoder: BinDecoder
    marginals: Any
    stamps: Tensor
    outcomes: str

    def tell(
        self, seen: Tensor | None, shown: Tensor, static: Tensor, end: Tensor, outcome: Tensor
    ) -> Any: ...

    def condition(self, batch: Any) -> Any: ...

    def source(
        self, condition: Any, draws: int, generator: torch.Generator | None = None
    ) -> Tensor: ...

    def transport(
        self,
        x: Tensor,
        condition: Any,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
    ) -> Any: ...

    def decode(self, x: Tensor, condition: Any) -> Tensor: ...

    def synthesise(
        self,
        static: Tensor,
        outcome: Tensor,
        end: Tensor,
        generator: torch.Generator | None = None,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
    ) -> Records: ...


@torch.no_grad()
def synthesise(
    model: BinwiseFlow,
    static: Tensor,
    outcome: Tensor,
    end: Tensor,
    generator: torch.Generator | None = None,
    *,
    steps: int | None = None,
    solver: SolverName | None = None,
    chunk: int = PIECE,
) -> Records:
    """A new record for each row of static features.

    Its outcome is the one that it was made for, or (`model.outcomes`) drawn again given what was
    made: then outcome and events go together as they do in the first stage's risk, whatever the
    flow has missed of it.

    Args:
        model: in evaluation mode.
        static: `[record, static]`.
        outcome: `[record]` 0, 1 or NaN for not told.
        end: `[record]` hours.
        generator: of all draws, on the model's device.
        steps: solver steps, or jumps of a student.
        solver: solver of a teacher.
        chunk: records at a time.

    Raises:
        WeirError: a generated value is not finite.
    """
    parts = [
        _synthesise_chunk(model, *rows, generator, steps, solver)
        for rows in zip(*(t.split(chunk) for t in (static, outcome, end)), strict=True)
    ]
    if model.outcomes == "drawn":
        parts = [part._replace(outcome=_drawn(model, part, generator)) for part in parts]
    return join(parts)


def resampled(
    model: BinwiseFlow,
    train: RecordSet,
    count: int,
    *,
    steps: int | None = None,
    solver: SolverName | None = None,
    seed: int = 0,
) -> Iterator[Records]:
    """New records in pieces, `count` in all: for the static features, outcome and length of
    training records drawn with replacement.

    Args:
        model: in evaluation mode, on the records' device.
        train: the training records.
        count: how many.
        steps: solver steps, or jumps of a student.
        solver: solver of a teacher.
        seed: of everything drawn.
    """
    device = train.rows.device
    generator = torch.Generator(device).manual_seed(seed)
    rows = torch.randint(len(train), (count,), generator=generator, device=device)
    for some in rows.split(PIECE):
        fixed = train.static[some], train.outcome[some], train.end[some]
        yield model.synthesise(*fixed, generator, steps=steps, solver=solver)


def _drawn(model: BinwiseFlow, made: Records, generator: torch.Generator | None) -> Tensor:
    """Outcomes `[record]` by the first stage's risk."""
    chance = torch.empty_like(made.outcome).uniform_(generator=generator)
    return (chance < model.vae.risk(made).sigmoid()).to(made.outcome)


def _synthesise_chunk(
    model: BinwiseFlow,
    static: Tensor,
    outcome: Tensor,
    end: Tensor,
    generator: torch.Generator | None,
    steps: int | None,
    solver: SolverName | None,
) -> Records:
    grid, codes, decoder = model.grid, model.codes, model.decoder
    outcome_told = torch.where(outcome.isnan(), -1.0, outcome)
    told = model.tell(None, torch.zeros_like(end), static, end, outcome_told)
    x = model.transport(model.source(told, 1, generator), told, steps=steps, solver=solver).final
    code = model.decode(x, told)
    inside = grid.inside(end)
    nothing = static.new_zeros(len(static), grid.bins, codes)
    state = AutoregressiveState(
        BinEvents(*[nothing] * 4), torch.zeros_like(nothing, dtype=torch.bool)
    )
    last = nothing[:, 0]
    bins = []
    for place in range(grid.bins):
        near = state.current()
        law = decoder.made(code, told.vector[:, None], near, place, generator)
        law = BinLaw(*(part[:, 0] for part in law))
        count = decoder.draw_counts(law, generator) * inside[:, place, None]
        again = repeated(law, near.past[:, 0], generator)
        made = _draw_bin_events(model, law, count, again, near.before[:, 0], last, generator)
        bins.append((torch.full_like(made.record, place), made))
        score, has, value = _summarise_bin(made, last)
        state.update(score[:, None], has[:, None])
        last = torch.where(has, value, last)
    place = torch.cat([number for number, _ in bins])
    made = _Events(*(torch.cat(parts) for parts in zip(*(m for _, m in bins), strict=True)))
    order = made.record.argsort(stable=True)
    place, made = place[order], _Events(*(part[order] for part in made))
    require_finite(made.value, "generated value", "in synthesise")
    return pack(
        made.record,
        _times(made.record * grid.bins + place, end, grid, model.stamps, generator),
        made.code + 1,
        made.value.masked_fill(~made.measured, 0.0),
        made.measured,
        static,
        end,
        outcome,
    )


class _Events(NamedTuple):
    """Events of a bin of some records, `[event]` each, ascending by record.

    Attributes:
        record: int64.
        code: int64, from 0.
        score: normal score of the value.
        value: standardised.
        measured: bool.
    """

    record: Tensor
    code: Tensor
    score: Tensor
    value: Tensor
    measured: Tensor


def _draw_bin_events(
    model: BinwiseFlow,
    law: BinLaw,
    count: Tensor,
    again: Tensor,
    last_score: Tensor,
    last_value: Tensor,
    generator: torch.Generator | None,
) -> _Events:
    """Events of one bin.

    Args:
        model: the flow.
        law: of the bin, `[record, code]`.
        count: `[record, code]` int64 events.
        again: `[record, code]` bool: whose values are the last one.
        last_score: `[record, code]`.
        last_value: `[record, code]`.
        generator: of the draws.
    """
    codes = count.shape[1]
    cell = torch.arange(count.numel(), device=count.device).repeat_interleave(count.flatten())
    code = cell % codes
    white = torch.empty(len(cell), device=count.device).normal_(generator=generator)
    score = law.mean.flatten()[cell] + law.sd.flatten()[cell] * white
    value = model.marginals.values(score, code + 1)
    # What is charted is of some resolution: its score is what the next bin is told.
    score = model.marginals.scores(value, code + 1)
    chance = torch.empty_like(score).uniform_(generator=generator)
    same = again.flatten()[cell]
    return _Events(
        cell // codes,
        code,
        torch.where(same, last_score.flatten()[cell], score),
        torch.where(same, last_value.flatten()[cell], value),
        chance < model.decoder.valued[code],
    )


def _summarise_bin(made: _Events, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the events of a bin, `[record, code]` each: mean score, whether there is a value, and the
    last one."""
    record, code, score, value = (part[made.measured] for part in made[:-1])
    cell = (record, code)
    number = torch.zeros_like(like).index_put(cell, torch.ones_like(score), accumulate=True)
    total = torch.zeros_like(like).index_put(cell, score, accumulate=True)
    # Ascending by record and code: the last event of a cell is followed by another cell's.
    final = torch.ones_like(record, dtype=torch.bool)
    final[:-1] = (record[1:] != record[:-1]) | (code[1:] != code[:-1])
    last = torch.zeros_like(like).index_put((record[final], code[final]), value[final])
    return total / number.clamp_min(1), number > 0, last


def repeated(law: BinLaw, past: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw which values are the last one again, of codes that have one."""
    chance = torch.empty_like(law.same).uniform_(generator=generator)
    return past.isfinite() & (chance < law.same.sigmoid())


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
