"""Values of every code as normal scores, by quantiles of the training values, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weir.tasks.clinical.data.records import RecordSet

LEVELS = 129
"""Quantiles of a code."""

_SAMPLE = 20_000


class Marginals(nn.Module):
    """Monotone maps of the values of each code to a standard normal and back.

    Clinical values are skewed, bounded, or of a few levels: a Gaussian law suits their scores.
    Between quantiles the map is linear; values outside the training range become its ends. A level
    that many values share has the middle of their scores.

    Args:
        codes: number of known codes.
    """

    value: Tensor
    score: Tensor

    def __init__(self, codes: int) -> None:
        super().__init__()
        _, normal = _levels("cpu")
        self.register_buffer("value", normal.repeat(codes + 1, 1))
        self.register_buffer("score", normal.repeat(codes + 1, 1))

    @torch.no_grad()
    def fit(self, data: RecordSet) -> None:
        """Take the quantiles of the training values of every code; those without keep theirs."""
        codes, values = _values(data)
        for code in codes.unique().tolist():
            if code > 0:
                self.take(code, values[codes == code])

    @torch.no_grad()
    def take(self, code: int, values: Tensor) -> None:
        """Set the map of a code from values `[n]`, at least one."""
        if len(values) > _SAMPLE:
            values = values[torch.linspace(0, len(values) - 1, _SAMPLE).long().to(values.device)]
        level, normal = _levels(values.device)
        # Observed values, none between two of them: levels stay levels.
        knots = values.sort().values[(level * len(values)).long().clamp_max(len(values) - 1)]
        _, group, count = knots.unique_consecutive(return_inverse=True, return_counts=True)
        middle = torch.zeros(len(count), device=knots.device).index_add_(0, group, normal) / count
        self.value[code] = knots
        self.score[code] = middle[group]

    def scores(self, value: Tensor, code: Tensor) -> Tensor:
        """Scores of values `[...]` of codes `[...]` int64 (0 for unknown)."""
        return _lookup(self.value, self.score, value, code)

    def values(self, score: Tensor, code: Tensor) -> Tensor:
        """Standardised values `[...]` of scores of codes: each one that was measured in training.

        A code is recorded to some resolution, which no interpolated value would keep.
        """
        level = (torch.special.ndtr(score.double()) * LEVELS).long()
        return self.value[code, level.clamp(0, LEVELS - 1)]

    def dense_values(self, score: Tensor) -> Tensor:
        """Interpolated values of scores `[..., code]` of all known codes."""
        knots, out = self.score[1:], self.value[1:]
        lead = score.shape[:-1]
        x = score.reshape(-1, score.shape[-1]).T.contiguous()
        return _interpolate(knots, out, x).T.reshape(*lead, -1)

    def expected(self, mean: Tensor, sd: Tensor) -> Tensor:
        """Mean value of Gaussian scores, `[..., code]` each, by quadrature over seven points."""
        total = torch.zeros_like(mean)
        for node, weight in _HERMITE:
            total += weight * self.dense_values(mean + node * sd)
        return total


_HERMITE = tuple(
    (sign * math.sqrt(2) * node, weight / math.sqrt(math.pi))
    for node, weight, signs in (
        (0.0, 0.8102646175568073, (1,)),
        (0.8162878828589647, 0.4256072526101278, (-1, 1)),
        (1.6735516287674714, 0.0545155828191270, (-1, 1)),
        (2.6519613568352334, 0.0009717812450995, (-1, 1)),
    )
    for sign in signs
)
"""Nodes and weights of the mean of a standard normal."""


def _levels(device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Levels of the quantiles, and the standard normal's, `[LEVELS]` each.

    Strictly inside (0, 1): the ends are half a share from the extremes.
    """
    level = (torch.arange(LEVELS, device=device) + 0.5) / LEVELS
    return level, torch.special.ndtri(level.double()).float()


def _values(data: RecordSet) -> tuple[Tensor, Tensor]:
    """Codes and values of (some of) the measured events of a set."""
    every = max(1, int(data.events.sum()) // 10_000_000)
    codes, values = [], []
    for _, batch in data.all():
        use = batch.measured.nonzero()[::every, 0]
        codes.append(batch.code[use])
        values.append(batch.value[use])
    if not codes:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    return torch.cat(codes), torch.cat(values)


def _lookup(from_: Tensor, to: Tensor, x: Tensor, code: Tensor) -> Tensor:
    """Piecewise linear maps of values `[...]`, each by its code's knots, flat outside them.

    Knots of all codes form one ascending row, a code's after those of the code before, so that one
    search finds the places of all values.
    """
    flat, count = code.reshape(-1), from_.shape[1]
    knots = from_.double()
    low, high = knots[:, :1], knots[:, -1:]
    # Each code's knots begin one after those before end.
    shift = torch.cat([low.new_zeros(1, 1), (high - low + 1).cumsum(0)[:-1]]) - low
    inner = x.reshape(-1).double()
    inner = inner.maximum(low[flat, 0]).minimum(high[flat, 0])
    place = torch.searchsorted((knots + shift).flatten(), inner + shift[flat, 0])
    right = (place - flat * count).clamp(1, count - 1) + flat * count
    a, b = knots.flatten()[right - 1], knots.flatten()[right]
    gap = b - a
    share = torch.where(gap > 0, (inner - a) / gap.where(gap > 0, 1.0), (inner >= b).double())
    ends = to.flatten()
    return torch.lerp(ends[right - 1], ends[right], share.clamp(0, 1).to(ends)).reshape(x.shape)


def _interpolate(from_: Tensor, to: Tensor, x: Tensor) -> Tensor:
    """Rows `[row, n]` of x through the knots `[row, knot]`, flat outside them."""
    # Equal knots: the first of those that are not less.
    right = torch.searchsorted(from_, x).clamp(1, from_.shape[1] - 1)
    a, b = from_.gather(1, right - 1), from_.gather(1, right)
    gap = b - a
    share = torch.where(gap > 0, (x - a) / gap.where(gap > 0, 1.0), (x >= b).to(x.dtype))
    return torch.lerp(to.gather(1, right - 1), to.gather(1, right), share.clamp(0, 1))
