"""Small models of made-up records, and batches with odd records."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weir.artifacts.model_folder import ModelCard
from weir.stages.restore import build_model
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.representation import stage1
from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
from weir.tasks.clinical.settings.models import ClinicalStage1

SMALL: dict[str, Any] = {"width": 16, "d_latent": 6, "knots": 5, "heads": 2, "dropout": 0.0}


def stage1_settings(network: dict[str, Any] | None = None, **changes: Any) -> ClinicalStage1:
    """Settings of a small model without any dropout."""
    outcome = {"hidden": 8, "members": 2, "input_dropout": 0.0, "dropout": 0.0}
    outcome |= changes.pop("outcome", {})
    node = {"dataset": "tiny", "event_dropout": 0.0, "outcome": outcome}
    return ClinicalStage1.model_validate(node | {"network": SMALL | (network or {})} | changes)


def stage1_card(data: ClinicalData, config: ClinicalStage1) -> ModelCard:
    """Card of a stage1 node."""
    settings = config.model_dump(mode="json")
    return ModelCard("stage1", "sets", 0, "clinical", "tiny", settings, data.card())


def stage1_model(data: ClinicalData, config: ClinicalStage1) -> SeqSetVAE:
    """An untrained model, fitted where that has a closed form."""
    torch.manual_seed(0)
    model = build_model(stage1_card(data, config))
    stage1.prepare(model, config, data.split("train"))
    return model


def doubled(records: Records) -> Records:
    """The same in float64."""
    fields = records._asdict()
    return Records(**{n: v.double() if v.is_floating_point() else v for n, v in fields.items()})


def records_of(sizes: list[list[int]], statics: int, codes: int = 9, seed: int = 0) -> Records:
    """Random records whose sets have the given numbers of events.

    Args:
        sizes: events of each set of each record.
        statics: number of static features.
        codes: with the unknown one, which has no value; nor have the last two.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = torch.tensor([size for record in sizes for size in record], dtype=torch.int64)
    event_set = torch.arange(len(flat)).repeat_interleave(flat)
    code = torch.randint(codes, event_set.shape, generator=generator)
    measured = (code > 0) & (code < codes - 2)
    value = torch.randn(event_set.shape, generator=generator) * measured
    hours = [torch.arange(len(record), dtype=torch.float32) for record in sizes]
    owners = torch.tensor([len(record) for record in sizes])
    return Records(
        code=code,
        value=value,
        measured=measured,
        event_set=event_set,
        time=torch.cat(hours) if hours else torch.zeros(0),
        set_record=torch.arange(len(sizes)).repeat_interleave(owners),
        static=torch.randn(len(sizes), statics, generator=generator),
        end=owners + 1.5,
        outcome=(torch.arange(len(sizes)) % 2).float(),
    )


def parameters_with_gradient(model: torch.nn.Module) -> set[str]:
    """Names of the parameters that a backward pass has reached with more than zeros."""
    found: dict[str, Tensor | None] = {n: p.grad for n, p in model.named_parameters()}
    return {name for name, grad in found.items() if grad is not None and bool(grad.any())}
