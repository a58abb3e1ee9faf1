"""Stage 2: a flow of the intrinsic latent, on a frozen first stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.errors import UserError
from weir.tasks.perturb.flow.anchor import AnchorSettings, group_shares
from weir.tasks.perturb.flow.cell_flow import CellFlow, Pairing
from weir.tasks.perturb.flow.context import Vocabulary
from weir.tasks.perturb.flow.latents import encode
from weir.tasks.perturb.flow.loss import Stage2Objective

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import CellSet
    from weir.tasks.perturb.data.schema import Schema
    from weir.tasks.perturb.representation.cell_code import CellCode
    from weir.tasks.perturb.settings.models import CellFlowSettings, PerturbStage2

NEGLIGIBLE = 1e-10
"""Variance of a latent, as a share of the largest, below which it is rounding."""


def build(config: PerturbStage2, schema: Schema, vae: CellCode) -> CellFlow:
    """An untrained flow of the shape that a node states, on a first stage that stays as it is."""
    return assemble(config, schema, vae, frozen=True)


def assemble(config: CellFlowSettings, schema: Schema, vae: CellCode, *, frozen: bool) -> CellFlow:
    """A flow on `vae` with the settings of a stage2 or joint node.

    Raises:
        UserError: means are to be anchored that are not of counts.
    """
    context, adapter, anchor = config.context, config.perturbation, config.anchor
    if anchor is not None and not vae.counted:
        raise UserError(
            "anchor: moves means of counts, of which its stage1 node makes none; set it to null"
        )
    return CellFlow(
        vae,
        Vocabulary.of(schema),
        source=config.source,
        path=config.path,
        roles=tuple(context.roles),
        effect_roles=tuple(context.effect_roles),
        context=context.width,
        unknown=context.unknown,
        alpha=adapter.width,
        curve=adapter.dose,
        interaction=adapter.interaction,
        anchor=None if anchor is None else AnchorSettings(**anchor.model_dump()),
        keep_noise=config.keep_noise,
        pairing=Pairing(**config.coupling.model_dump(), balance=config.balance),
        frozen=frozen,
        **config.field.model_dump(),
    )


def prepare(model: CellFlow, config: PerturbStage2, data: CellSet, vae: CellCode) -> None:
    """Put in the trained first stage and fit what has a closed form to the training cells."""
    model.vae.load_state_dict(vae.state_dict())
    fit(model, data)


@torch.no_grad()
def fit(model: CellFlow, data: CellSet) -> None:
    """Set the latents' units, the codes that training shows, and the decoder's correction."""
    was_training = model.training
    model.eval()
    cells = encode(model.vae, data)
    variance = cells.mean.var(0, correction=0) + cells.log_variance.exp().mean(0)
    model.latent_mean.copy_(cells.mean.mean(0))
    # A code may hold what never varies, such as a gene that only held-out cells show.
    varies = variance > NEGLIGIBLE * variance.max()
    model.latent_sd.copy_(torch.where(varies, variance, 1.0).sqrt())
    mark_observed_codes(
        model, cells.batch, cells.cell_type, perturbed=data.condition.to(cells.batch.device) > 0
    )
    if model.anchor is not None:
        place = model.contexts[cells.batch, cells.cell_type]
        conditions, contexts = len(model.conditions), len(model.anchor.known) - 1
        model.anchor.fit(*group_shares(data, place, conditions, contexts))
        model.reference.fit(data, place)
    model.train(was_training)


def mark_observed_codes(
    model: CellFlow, batch: Tensor, cell_type: Tensor, perturbed: Tensor
) -> None:
    """Tell the context encoders which codes their parts of the field are trained on."""
    model.base.mark_observed_codes(batch, cell_type)
    model.effect.mark_observed_codes(batch[perturbed], cell_type[perturbed])


def objective(config: PerturbStage2, model: CellFlow) -> Stage2Objective:
    """What stage 2 minimises."""
    return Stage2Objective(
        model,
        times=config.time_sampling,
        draws=config.draws,
        energy_weight=config.energy_weight,
        energy_steps=config.energy_steps,
    )
