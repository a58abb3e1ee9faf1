"""The values next to a bin of a record: of every code the last one, the next one, and its level."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from weir.tasks.clinical.flow.grid import BinEvents, carry_forward

MEMORY = 6.0
"""Bins after which what was carried over has faded to 1 / e."""


class Neighbours(NamedTuple):
    """What is known next to bins, `[..., code]` each; scores are means over the events of a bin.

    Leading axes broadcast.

    Attributes:
        before: score of the latest known bin with a value, this one included; 0 for none.
        past: bins since then; infinity for none.
        after: score of the earliest known bin from this one on; 0 for none.
        future: bins until then; infinity for none.
        total: sum of the scores of all known bins with a value.
        number: how many those are.
    """

    before: Tensor
    past: Tensor
    after: Tensor
    future: Tensor
    total: Tensor
    number: Tensor

    @property
    def level(self) -> Tensor:
        """Mean score of the known bins, drawn to 0 as if one more had that."""
        return self.total / (self.number + 1)

    def without(self, forgotten: Tensor) -> Neighbours:
        """The same, but nothing is known of some codes, `[..., code]` bool."""
        never = {"past", "future"}
        return Neighbours(
            *(
                part.masked_fill(forgotten, torch.inf if name in never else 0.0)
                for name, part in self._asdict().items()
            )
        )

    def features(self, bins: int) -> Tensor:
        """`[..., 8 * code]` finite numbers of order one, for a grid of `bins`."""
        ages = [part for age in (self.past, self.future) for part in _aged(age, bins)]
        sure = self.number / (self.number + 1)
        parts = [self.before, self.after, self.level, sure, *ages]
        return torch.cat(torch.broadcast_tensors(*parts), -1)


def _aged(age: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    return torch.exp(-age / MEMORY), age.clamp_max(bins).log1p() / math.log1p(bins)


def around(events: BinEvents, shown: Tensor) -> Neighbours:
    """What is shown next to every bin, on both sides.

    Args:
        events: of whole records, `[record, bin, code]`.
        shown: `[record, bin, code]` bool.
    """
    score = events.mean
    seen = (events.values > 0) & shown
    total, number = _sums(score, seen)
    return Neighbours(
        *carry_forward(score, seen),
        *_carry_back(score, seen),
        total.sum(1, keepdim=True).expand_as(score),
        number.sum(1, keepdim=True).expand_as(score),
    )


def in_turn(events: BinEvents, shown: Tensor) -> Neighbours:
    """What is known at every bin if bins are made one after the other.

    All values of earlier bins are known, shown or made, and the shown ones of this and later bins.
    `AutoregressiveState` holds the same while they are being made.

    Args:
        events: of whole records, `[record, bin, code]`.
        shown: `[record, bin, code]` bool.
    """
    score, has = events.mean, events.values > 0
    seen = has & shown
    before, past = carry_forward(score, has)
    before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], 1)
    past = torch.cat([torch.full_like(past[:, :1], torch.inf), past[:, :-1]], 1) + 1
    total, number = (
        torch.cat([torch.zeros_like(whole[:, :1]), whole.cumsum(1)[:, :-1]], 1)
        + part.flip(1).cumsum(1).flip(1)
        for whole, part in zip(_sums(score, has), _sums(score, seen), strict=True)
    )
    return Neighbours(
        torch.where(seen, score, before),
        past.masked_fill(seen, 0.0),
        *_carry_back(score, seen),
        total,
        number,
    )


class AutoregressiveState:
    """Neighbours of one bin after the other, of records that are being made several times each.

    Args:
        events: what is shown of them, `[record, bin, code]`.
        shown: `[record, bin, code]` bool.
    """

    def __init__(self, events: BinEvents, shown: Tensor) -> None:
        self.place = 0
        score = events.mean
        seen = (events.values > 0) & shown
        left = [part.flip(1).cumsum(1).flip(1) for part in _sums(score, seen)]
        # By bin, with an axis for the draws of a record.
        self.seen = seen[:, None].unbind(2)
        self.score = score[:, None].unbind(2)
        self.ahead = [part[:, None].unbind(2) for part in _carry_back(score, seen)]
        self.left = [part[:, None].unbind(2) for part in left]
        nothing = torch.zeros_like(score[:, :1])
        self.before, self.past = nothing, torch.full_like(nothing, torch.inf)
        self.total = self.number = nothing

    def current(self) -> Neighbours:
        """The neighbours of the bin that is next, `[record, draw, code]` or 1 for the draws."""
        seen = self.seen[self.place]
        total, number = (part[self.place] for part in self.left)
        return Neighbours(
            torch.where(seen, self.score[self.place], self.before),
            (self.past + 1).masked_fill(seen, 0.0),
            *(part[self.place] for part in self.ahead),
            self.total + total,
            self.number + number,
        )

    def update(self, score: Tensor, has: Tensor) -> None:
        """What was made in that bin, mean scores `[record, draw, code]` where `has`.

        What is shown of it stays.
        """
        seen = self.seen[self.place]
        score, has = torch.where(seen, self.score[self.place], score), has | seen
        self.before = torch.where(has, score, self.before)
        self.past = (self.past + 1).masked_fill(has, 0.0)
        self.total = self.total + torch.where(has, score, 0.0)
        self.number = self.number + has
        self.place += 1


def _carry_back(score: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    value, age = carry_forward(score.flip(1), has.flip(1))
    return value.flip(1), age.flip(1)


def _sums(score: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(has, score, 0.0), has.to(score.dtype)
