"""Errors of filled-in bins against what was measured there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from weir.metrics.scores import crps
from weir.tasks.clinical.filled import Filled
from weir.tasks.clinical.grid import BinEvents


class FillErrors(NamedTuple):
    """Errors of one batch; a value is a code's mean over its hidden events in a bin.

    Attributes:
        code: `[value]` int64, from 0.
        square: `[value]` squared error of the mean.
        crps: `[value]` fair CRPS of the samples.
        covered: `[value]` bool, within the samples' 5 % to 95 % quantiles.
        energy: `[record]` fair energy score of all values of a record together, records with at
            least one.
        count: `[record]` how many values those have.
    """

    code: Tensor
    square: Tensor
    crps: Tensor
    covered: Tensor
    energy: Tensor
    count: Tensor


def fill_errors(filled: Filled, truth: BinEvents) -> FillErrors:
    """Score what was filled in.

    Args:
        filled: hidden bins of a batch; at least two samples.
        truth: all bins of the same batch.
    """
    has = (truth.values[filled.record, filled.bin] > 0) & filled.asked
    true = truth.mean[filled.record, filled.bin]
    row, code = has.nonzero(as_tuple=True)
    y = true[row, code]
    draws = filled.samples[row, :, code]  # [value, sample]
    low, high = (_quantile(draws, level) for level in (0.05, 0.95))
    energy, count = _energy(filled.record[row], draws, y, len(truth.count))
    return FillErrors(
        code,
        (filled.mean[row, code] - y).square(),
        crps(draws, y),
        (low <= y) & (y <= high),
        energy,
        count,
    )


def _quantile(draws: Tensor, level: float) -> Tensor:
    """As `torch.quantile` over axis 1, which refuses an empty batch."""
    place = level * (draws.shape[1] - 1)
    ordered = draws.sort(1).values
    below = int(place)
    above = min(below + 1, draws.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below)


def _energy(record: Tensor, draws: Tensor, truth: Tensor, records: int) -> tuple[Tensor, Tensor]:
    """`E|X - y| - E|X - X'| / 2` over all values of each record that has any, and their number.

    Squared distances add up over a record's values, of which there are more or fewer.
    """
    count = record.bincount(minlength=records)
    samples = draws.shape[1]
    to_truth = draws.new_zeros(records, samples).index_add_(
        0, record, (draws - truth[:, None]).square()
    )
    first, second = torch.triu_indices(samples, samples, 1, device=draws.device)
    between = draws.new_zeros(records, len(first))
    for some in torch.arange(len(record), device=record.device).split(1 << 14):
        apart = (draws[some][:, first] - draws[some][:, second]).square()
        between.index_add_(0, record[some], apart)
    score = to_truth.sqrt().mean(1) - between.sqrt().mean(1) / 2
    return score[count > 0], count[count > 0]


class Pooled:
    """Errors of all batches, on the CPU."""

    def __init__(self) -> None:
        self.parts: list[FillErrors] = []

    def add(self, errors: FillErrors) -> None:
        """Another batch."""
        self.parts.append(FillErrors(*(field.cpu() for field in errors)))

    @property
    def values(self) -> int:
        """How many values were scored."""
        return sum(len(part.code) for part in self.parts)

    def joined(self) -> FillErrors:
        """All of them."""
        return FillErrors(*(torch.cat(fields) for fields in zip(*self.parts, strict=True)))

    def scores(self) -> dict[str, float]:
        """`rmse`, `crps`, `coverage` over values and `energy` over records."""
        every = self.joined()
        return {
            "rmse": float(every.square.double().mean().sqrt()),
            "crps": float(every.crps.double().mean()),
            "coverage": float(every.covered.double().mean()),
            "energy": float(every.energy.double().mean()),
        }

    def by_code(self, codes: int) -> dict[str, Tensor]:
        """`values`, `rmse` and `crps` of each code, `[code]`; NaN without values."""
        every = self.joined()
        count = every.code.bincount(minlength=codes).double()
        sums = torch.zeros(2, codes, dtype=torch.float64)
        sums.index_add_(1, every.code, torch.stack([every.square, every.crps]).double())
        return {"values": count, "rmse": (sums[0] / count).sqrt(), "crps": sums[1] / count}
