"""A tiny first stage and a flow on it, for tests."""

from __future__ import annotations

import torch

from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.flow.grid import Grid
from weir.tasks.clinical.flow.items import Masks
from weir.tasks.clinical.flow.record_flow import RecordFlow
from weir.tasks.clinical.flow.record_stage2 import fit
from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
from weir.tasks.clinical.settings.flow import MaskShares

BINS = 8


def small_vae(data: ClinicalData) -> SeqSetVAE:
    """Untrained, with four latents."""
    torch.manual_seed(0)
    schema = data.schema
    vae = SeqSetVAE(
        len(schema.codes) + 1,
        len(schema.static),
        schema.horizon_hours,
        width=8,
        d_latent=4,
        knots=4,
        heads=2,
        dropout=0.0,
    )
    vae.fit(data.split("train"))
    return vae.eval()


def small_flow(data: ClinicalData, *, frozen: bool = True) -> RecordFlow:
    """Untrained, of eight bins, fitted to the training records; its output is not zero."""
    flow = RecordFlow(
        small_vae(data),
        static=len(data.schema.static),
        grid=Grid(BINS, data.schema.horizon_hours),
        masks=Masks(**MaskShares().model_dump()),
        frozen=frozen,
        code=6,
        noise=2,
        width=16,
        layers=1,
    )
    fit(flow, data.split("train"))
    for layer in (flow.network.out, flow.network.modulation, flow.decoder.value):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return flow.eval()
