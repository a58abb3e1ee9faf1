"""Stage 2, `model: flow`: a flow of records, on a frozen first stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.clinical.flow.grid import Binned, Grid, grid_of, merge, tally
from weir.tasks.clinical.flow.items import Masks
from weir.tasks.clinical.flow.loss import FlowObjective
from weir.tasks.clinical.flow.record_flow import RecordFlow
from weir.tasks.clinical.flow.synthesis import STAMPS

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
    from weir.tasks.clinical.settings.flow import ClinicalFlow, RecordFlowSettings


def build(config: RecordFlowSettings, schema: Schema, vae: SeqSetVAE) -> RecordFlow:
    """An untrained flow of the shape that a node states, on a first stage that stays as it is."""
    return assemble(config, schema, vae, frozen=True)


def assemble(
    config: RecordFlowSettings, schema: Schema, vae: SeqSetVAE, *, frozen: bool
) -> RecordFlow:
    """A flow on `vae` with the settings of a stage2 or joint node."""
    return RecordFlow(
        vae,
        static=len(schema.static),
        grid=grid_of(config.grid, schema.horizon_hours),
        path=config.path,
        masks=Masks(**config.masks.model_dump()),
        frozen=frozen,
        outcomes=config.outcomes,
        **config.flow_network.model_dump(),
    )


def prepare(model: RecordFlow, config: ClinicalFlow, data: RecordSet, vae: SeqSetVAE) -> None:
    """Put in the trained first stage and fit what has a closed form to the training records."""
    model.vae.load_state_dict(vae.state_dict())
    fit(model, data)


@torch.no_grad()
def fit(model: RecordFlow, data: RecordSet) -> None:
    """Set the values' scores, the decoder's first guess and how many time stamps bins have."""
    model.marginals.fit(data)
    events = []
    stamps = torch.zeros(2, STAMPS, dtype=torch.float64)
    for _, batch in data.all():
        binned = merge(batch, model.grid)
        events.append(tally(binned, model.grid, model.codes))
        stamps += _stamps(batch, binned, model.grid)
    model.decoder.fit(events)
    count = stamps[0].clamp_min(1)
    number = torch.arange(STAMPS, dtype=torch.float64)
    # Where no bin has that many events: each is a time stamp of its own.
    model.stamps.copy_(torch.where(stamps[0] > 0, stamps[1] / count, number))


def _stamps(records: Records, binned: Binned, grid: Grid) -> Tensor:
    """How many bins hold how many events, and how many time stamps these have: `[2, STAMPS]`."""
    place = grid.bin(records.time)
    kept = place < grid.bins
    owner = (records.set_record * grid.bins + place)[kept]
    sets = owner.unique_consecutive(return_counts=True)[1]
    size = binned.records.event_set.bincount(minlength=len(binned.place)).clamp_max(STAMPS - 1)
    found = torch.zeros(2, STAMPS, dtype=torch.float64, device=size.device)
    found.index_add_(1, size, torch.stack([torch.ones_like(sets), sets]).double())
    return found.cpu()


def objective(config: RecordFlowSettings, model: RecordFlow) -> FlowObjective:
    """What stage 2 minimises."""
    return FlowObjective(
        model,
        times=config.time_sampling,
        draws=config.draws,
        bins=config.decoded_bins,
        forget=config.forget,
        weights=config.weights,
    )
