"""Records as a flow of them is trained: what is hidden of each, and what is known of all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.tasks.clinical.grid import Binned, Grid, merge
from weir.tasks.clinical.masks import Masks
from weir.tasks.clinical.records import Records

if TYPE_CHECKING:
    from weir.tasks.clinical.records import RecordSet
    from weir.tasks.clinical.seqsetvae import SeqSetVAE


class FlowBatch(NamedTuple):
    """Records, what is hidden of them, and what the first stage says of all of them.

    Attributes:
        records: whole, a batch.
        hidden: `[record, bin, code]` bool, unknown codes' column first.
        told: `[record]` bool, whose outcome is told.
        representation: `[record, features]` of the whole records.
        latent: `[record, bin, d_latent]`, posterior means of the sets of all events of each bin; 0
            without events.
    """

    records: Records
    hidden: Tensor
    told: Tensor
    representation: Tensor
    latent: Tensor


class Query(NamedTuple):
    """Records, and what is hidden of them; fields as in `FlowBatch`."""

    records: Records
    hidden: Tensor
    told: Tensor


def encode_bins(vae: SeqSetVAE, binned: Binned, grid: Grid) -> Tensor:
    """Posterior means `[record, bin, d_latent]` of the sets of bins; 0 without events.

    Each bin is encoded as if it stood alone: the encoder is told how long ago the set before was,
    which may be hidden.
    """
    alone = torch.arange(len(binned.place), device=binned.place.device)
    if not len(alone):
        owners = len(binned.records.outcome)
        return binned.records.static.new_zeros(owners, grid.bins, vae.d_latent)
    posterior = vae.encode(binned.records._replace(set_record=alone))
    return binned.dense(posterior.mean, grid)


@dataclass(frozen=True)
class FlowSet:
    """A data set of `FlowBatch`; what the frozen first stage says was computed once.

    Attributes:
        records: the records.
        grid: of the bins.
        codes: number of codes, with the unknown one.
        masks: law of what is hidden, drawn anew for every batch.
        representation: `[n, features]` float16.
        latent: `[n, bin, d_latent]` float16.
    """

    records: RecordSet
    grid: Grid
    codes: int
    masks: Masks
    representation: Tensor
    latent: Tensor

    def __len__(self) -> int:
        return len(self.records)

    def to(self, device: torch.device | str) -> FlowSet:
        """The same on `device`."""
        move = {
            name: getattr(self, name).to(device) for name in ("records", "representation", "latent")
        }
        return replace(self, **move)

    def batch(self, items: Tensor) -> FlowBatch:
        """Records numbered `items`; masks come from the global generator."""
        records = self.records.batch(items)
        hidden, told = self.masks.draw(len(items), self.grid.bins, self.codes)
        device = records.outcome.device
        items = items.to(device)
        return FlowBatch(
            records,
            hidden.to(device),
            told.to(device),
            self.representation[items].float(),
            self.latent[items].float(),
        )


@torch.no_grad()
def flow_set(vae: SeqSetVAE, records: RecordSet, grid: Grid, masks: Masks) -> FlowSet:
    """Encode every record of a set by a first stage in evaluation mode."""
    device = records.rows.device
    half = {"dtype": torch.float16, "device": device}
    representation = torch.zeros(len(records), vae.features, **half)
    latent = torch.zeros(len(records), grid.bins, vae.d_latent, **half)
    for items, batch in records.all():
        representation[items] = vae.represent(batch).half()
        latent[items] = encode_bins(vae, merge(batch, grid), grid).half()
    return FlowSet(records, grid, vae.codes, masks, representation, latent)


@dataclass(frozen=True)
class QuerySet:
    """A data set of `Query`: what is hidden of a record is always the same.

    Attributes:
        records: the records.
        grid: of the bins.
        codes: number of codes, with the unknown one.
        masks: law of what is hidden.
        seed: of the masks, with the number of the record.
    """

    records: RecordSet
    grid: Grid
    codes: int
    masks: Masks
    seed: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def to(self, device: torch.device | str) -> QuerySet:
        """The same on `device`."""
        return replace(self, records=self.records.to(device))

    def batch(self, items: Tensor) -> Query:
        """Records numbered `items`."""
        records = self.records.batch(items)
        device = records.outcome.device
        found = [self._mask(item) for item in items.tolist()]
        hidden, told = (torch.cat(parts).to(device) for parts in zip(*found, strict=True))
        return Query(records, hidden, told)

    def _mask(self, item: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + item)
        return self.masks.draw(1, self.grid.bins, self.codes, generator)
