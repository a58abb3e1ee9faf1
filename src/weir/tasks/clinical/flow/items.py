"""Records as a flow of them is trained: what is shown of each, and what is known of all of it.

Shown is nothing, the record's beginning, or this and that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.flow.grid import Binned, Grid, merge

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import RecordSet
    from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE


@dataclass(frozen=True)
class Masks:
    """Shares of the uses of a flow, in training and among a teacher's queries.

    Attributes:
        nothing: nothing is shown: synthetic records.
        prefix: the first bins are shown: forecasts.
        cells: single codes of single bins are hidden. In the rest whole bins are.
        known: share of the records whose outcome is told where nothing is shown.
        known_shown: the same where something is.
    """

    nothing: float
    prefix: float
    cells: float
    known: float
    known_shown: float

    def draw(
        self, records: int, bins: int, codes: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden cells `[record, bin, code]` bool, and told outcomes `[record]` bool.

        On the CPU, so that a seed means the same everywhere.

        Args:
            records: how many.
            bins: of the grid.
            codes: columns, with the unknown codes' one.
            generator: of the draws; None for the global one.
        """
        use, share, tell = torch.rand(3, records, generator=generator)
        chance = torch.rand(records, bins, generator=generator)
        single = torch.rand(records, bins, codes, generator=generator)
        nothing = use < self.nothing
        prefix = ~nothing & (use < self.nothing + self.prefix)
        cells = ~nothing & ~prefix & (use < self.nothing + self.prefix + self.cells)
        shown = 1 + (share * max(1, bins - 1)).long().clamp(max=max(0, bins - 2))
        hidden = chance < 0.05 + 0.9 * share[:, None]
        hidden = torch.where(prefix[:, None], torch.arange(bins) >= shown[:, None], hidden)
        hidden |= nothing[:, None]
        some = single < 0.05 + 0.6 * share[:, None, None]
        told = tell < torch.where(nothing, self.known, self.known_shown)
        return torch.where(cells[:, None, None], some, hidden[..., None]), told


def by_code(hidden: Tensor, codes: int) -> Tensor:
    """Hidden bins `[record, bin]` as hidden cells `[record, bin, code]`; cells stay as they are."""
    return hidden if hidden.ndim == 3 else hidden[..., None].expand(-1, -1, codes)


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
        masks: law of what is hidden, drawn again for every batch.
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
