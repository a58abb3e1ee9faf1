"""Records as latents of bins: what the flow trains on, and what a teacher samples."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.tasks.clinical.bin_masks import Masks
from weir.tasks.clinical.grid import BinEvents, Binned, Grid, merge, tally
from weir.tasks.clinical.marginals import Marginals
from weir.tasks.clinical.records import Records

if TYPE_CHECKING:
    from weir.tasks.clinical.records import RecordSet
    from weir.tasks.clinical.seqsetvae import SeqSetVAE

UNKNOWN_OUTCOME = -1.0


class BinBatch(NamedTuple):
    """Records on a grid, and which bins of theirs are hidden; axis 0 of each is the record.

    Attributes:
        mean: `[record, bin, d_latent]`, posterior mean of each bin's set; 0 without events.
        log_variance: `[record, bin, d_latent]`, likewise.
        occupied: `[record, bin]` bool: holds events.
        hidden: `[record, bin]` bool: to be filled in, never after the record's end.
        count: `[record, bin, code]` events.
        values: `[record, bin, code]` events with a value.
        total: `[record, bin, code]` sum of their normal scores.
        square: `[record, bin, code]` sum of the squares of these.
        static: `[record, static]`.
        outcome: `[record]`: 0, 1 or -1 for not told.
        end: `[record]` hours.
    """

    mean: Tensor
    log_variance: Tensor
    occupied: Tensor
    hidden: Tensor
    count: Tensor
    values: Tensor
    total: Tensor
    square: Tensor
    static: Tensor
    outcome: Tensor
    end: Tensor

    @property
    def events(self) -> BinEvents:
        """The sums of each bin."""
        return BinEvents(self.count, self.values, self.total, self.square)


def bin_batch(
    records: Records,
    grid: Grid,
    marginals: Marginals,
    vae: SeqSetVAE,
    hidden: Tensor,
    told: Tensor | None = None,
) -> BinBatch:
    """Records encoded on a grid; differentiable in the encoder.

    Args:
        records: a batch.
        grid: of the bins.
        marginals: the codes' normal scores.
        vae: the first stage.
        hidden: `[record, bin]` bool.
        told: `[record]` bool, whose outcome is told; None for nobody's.
    """
    binned = merge(records, grid)
    return _batch(
        binned, grid, marginals, known_codes(vae), hidden, told, encode_bins(vae, binned, grid)
    )


def known_codes(vae: SeqSetVAE) -> int:
    """Number of known codes: the first stage also counts the unknown one."""
    return vae.codes - 1


def encode_bins(vae: SeqSetVAE, binned: Binned, grid: Grid) -> tuple[Tensor, Tensor]:
    """Posterior means and log variances `[record, bin, d_latent]` of the sets of bins.

    Each bin is encoded as if it stood alone: the encoder is told how long ago the set before was,
    which may be hidden.
    """
    if not len(binned.place):
        empty = binned.records.static.new_zeros(
            len(binned.records.outcome), grid.bins, vae.d_latent
        )
        return empty, empty
    alone = torch.arange(len(binned.place), device=binned.place.device)
    posterior = vae.encode(binned.records._replace(set_record=alone))
    return binned.dense(posterior.mean, grid), binned.dense(posterior.log_variance, grid)


def _batch(
    binned: Binned,
    grid: Grid,
    marginals: Marginals,
    codes: int,
    hidden: Tensor,
    told: Tensor | None,
    latents: tuple[Tensor, Tensor],
) -> BinBatch:
    records = binned.records
    # Values that were not measured count nothing, whatever their score.
    events = tally(binned, grid, codes, marginals.scores(records.value, records.code))
    unknown = torch.full_like(records.outcome, UNKNOWN_OUTCOME)
    return BinBatch(
        *latents,
        binned.occupied(grid),
        hidden & grid.inside(records.end),
        *events,
        records.static,
        unknown if told is None else torch.where(told, records.outcome, unknown),
        records.end,
    )


@dataclass(frozen=True)
class BinSet:
    """A data set of `BinBatch`; what the frozen first stage says of a bin was computed once.

    Attributes:
        records: the records.
        grid: of the bins.
        marginals: the codes' normal scores.
        codes: number of known codes.
        mean: `[n, bin, d_latent]` float16.
        log_variance: likewise.
        masks: law of what is hidden.
        hidden: `[n, bin]` bool, what is hidden of each; None draws it anew for every batch.
        told: `[n]` bool, whose outcome is told; None likewise.
    """

    records: RecordSet
    grid: Grid
    marginals: Marginals
    codes: int
    mean: Tensor
    log_variance: Tensor
    masks: Masks
    hidden: Tensor | None = None
    told: Tensor | None = None

    def __len__(self) -> int:
        return len(self.records)

    def to(self, device: torch.device | str) -> BinSet:
        """The same on `device`."""
        move = {
            name: None if (value := getattr(self, name)) is None else value.to(device)
            for name in ("records", "mean", "log_variance", "hidden", "told")
        }
        # A copy: the model's own moves with the model.
        return replace(self, marginals=copy.deepcopy(self.marginals).to(device), **move)

    def batch(self, items: Tensor) -> BinBatch:
        """Records numbered `items`; masks that are not fixed come from the global generator."""
        records = self.records.batch(items)
        device = records.outcome.device
        items = items.to(device)
        if self.hidden is None or self.told is None:
            hidden, told = self.masks.draw(len(items), self.grid.bins)
            hidden, told = hidden.to(device), told.to(device)
        else:
            hidden, told = self.hidden[items], self.told[items]
        latents = self.mean[items].float(), self.log_variance[items].float()
        binned = merge(records, self.grid)
        return _batch(binned, self.grid, self.marginals, self.codes, hidden, told, latents)


@torch.no_grad()
def bin_set(
    vae: SeqSetVAE,
    records: RecordSet,
    grid: Grid,
    marginals: Marginals,
    masks: Masks,
    *,
    seed: int | None = None,
) -> BinSet:
    """Encode every record of a set on a grid.

    Args:
        vae: the first stage, in evaluation mode.
        records: the records.
        grid: of the bins.
        marginals: the codes' normal scores.
        masks: law of what is hidden.
        seed: fixes what is hidden of each record; None draws it for every batch.
    """
    shape = (len(records), grid.bins, vae.d_latent)
    mean = torch.zeros(shape, dtype=torch.float16, device=records.rows.device)
    log_variance = torch.zeros_like(mean)
    for items, batch in records.all():
        m, v = encode_bins(vae, merge(batch, grid), grid)
        mean[items], log_variance[items] = m.half(), v.half()
    hidden = told = None
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        hidden, told = masks.draw(len(records), grid.bins, generator)
        hidden, told = hidden.to(mean.device), told.to(mean.device)
    return BinSet(
        records,
        grid,
        copy.deepcopy(marginals),
        known_codes(vae),
        mean,
        log_variance,
        masks,
        hidden,
        told,
    )
