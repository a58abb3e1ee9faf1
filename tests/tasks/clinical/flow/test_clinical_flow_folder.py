"""Flows, joint models and students by their nodes: built, saved, and restored by their cards."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weir.artifacts.model_folder import ModelCard, save_model
from weir.errors import UserError
from weir.pipeline.params.graph import load_params
from weir.settings.nodes import Distill
from weir.stages.restore import build_model, restore
from weir.stages.train import card_of
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.flow import joint, stage2
from weir.tasks.clinical.flow.record_flow import RecordFlow
from weir.tasks.clinical.representation import stage1
from weir.tasks.clinical.settings.flow import Bins
from weir.tasks.clinical.settings.models import ClinicalJoint, ClinicalStage1, ClinicalStage2

NETWORK = {"width": 8, "d_latent": 4, "knots": 4, "heads": 2}
FLOW: dict[str, Any] = {
    "grid": {"bins": 6},
    "flow_network": {"code": 6, "noise": 2, "components": 2, "width": 16, "layers": 1},
}


@pytest.fixture(scope="module")
def first(tiny_clinical: ClinicalData) -> tuple[ModelCard, nn.Module]:
    """A stage-1 model and its card."""
    config = ClinicalStage1(dataset="tiny", network=NETWORK, outcome={"weight": 0})
    card = card_of("stage1", "sets", "clinical", 0, config, tiny_clinical)
    torch.manual_seed(0)
    model = build_model(card)
    stage1.prepare(model, config, tiny_clinical.split("train"))
    return card, model.eval()


def folder_of(tmp_path: Path, name: str, model: nn.Module, card: ModelCard) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    save_model(folder, model, card)
    return folder


def same_answers(a: RecordFlow, b: RecordFlow, data: ClinicalData) -> None:
    records = data.split("test").batch(torch.arange(6))
    hidden = (torch.arange(a.grid.bins) > 3).expand(6, -1)
    found = [
        model.fill(records, hidden, 3, steps=1, generator=torch.Generator().manual_seed(0))
        for model in (a, b)
    ]
    torch.testing.assert_close(found[0].samples, found[1].samples)


def test_a_flow_and_its_student_are_restored(
    first: tuple[ModelCard, nn.Module], tiny_clinical: ClinicalData, tmp_path: Path
):
    above, vae = first
    config = ClinicalStage2(stage1="sets", **FLOW)
    card = card_of("stage2", "flow", "clinical", 0, config, tiny_clinical, upstream=asdict(above))
    flow = build_model(card)
    stage2.prepare(flow, config, tiny_clinical.split("train"), vae)
    assert flow.grid.hours == tiny_clinical.schema.horizon_hours
    for mine, theirs in zip(flow.vae.parameters(), vae.parameters(), strict=True):
        assert torch.equal(mine, theirs) and not mine.requires_grad
    torch.nn.init.normal_(flow.network.out.weight, std=0.1)
    folder = folder_of(tmp_path, "flow", flow, card)
    again = restore(folder)
    same_answers(flow.eval(), again, tiny_clinical)
    assert not hasattr(flow, "risk") or not flow.has_head

    pupil = again.as_student()
    told = card_of(
        "distill",
        "student",
        "clinical",
        0,
        Distill(teacher="t"),
        tiny_clinical,
        upstream=asdict(card),
    )
    restored = restore(folder_of(tmp_path, "student", pupil, told))
    assert restored.student and restored.nfe() == 1
    same_answers(pupil.eval(), restored, tiny_clinical)
    assert isinstance(build_model(told), RecordFlow)


def test_a_joint_model_is_restored_with_its_head(tiny_clinical: ClinicalData, tmp_path: Path):
    config = ClinicalJoint(
        dataset="tiny",
        network=NETWORK,
        outcome={"weight": 1.0, "members": 2, "hidden": 4},
        monitor={"every": None},
        **FLOW,
    )
    card = card_of("joint", "both", "clinical", 0, config, tiny_clinical)
    torch.manual_seed(0)
    model = build_model(card)
    train = tiny_clinical.split("train")
    joint.prepare(model, config, train)
    objective = joint.objective(config, model).train()
    optimizer = torch.optim.AdamW(objective.parameter_groups(), 1e-2)
    before = model.code.mean.clone()
    losses = objective(train.batch(torch.arange(40)), 0.5)
    losses["loss"].backward()
    optimizer.step()
    assert not torch.equal(model.code.mean, before)
    assert {"autoencoder", "flow", "counts", "values", "forecast", "bce"} <= set(losses)
    again = restore(folder_of(tmp_path, "both", model, card))
    assert again.has_head
    records = tiny_clinical.split("test").batch(torch.arange(6))
    torch.testing.assert_close(again.risk(records), model.eval().risk(records))
    same_answers(model, again, tiny_clinical)
    # What a teacher samples: codes of records of which some is hidden.
    queries = again.queries(train)
    assert len(queries) == len(train)
    assert again.condition(queries.batch(torch.arange(3))).vector.shape == (3, again.told_width)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="nothing, prefix and cells"):
        ClinicalStage2(stage1="s", masks={"nothing": 0.7, "prefix": 0.7})
    with pytest.raises(ValueError, match="reconstruction"):
        ClinicalJoint(dataset="d", reconstruction=0)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        Bins(bins=1)


@pytest.mark.parametrize(
    ("weight", "words"),
    [(1.0, ""), (0.0, "stage2.flow: outcomes: drawn needs a stage1 node that is trained with")],
)
def test_outcomes_are_drawn_only_by_a_first_stage_that_foretells_them(
    tmp_path: Path, weight: float, words: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        f"""
datasets:
  ward: {{task: clinical, source: {{simulator: {{}}}}, outcome: death}}
stage1:
  sets: {{dataset: ward, outcome: {{weight: {weight}}}}}
stage2:
  flow: {{stage1: sets, outcomes: drawn}}
evaluate:
  flow: {{model: stage2/flow}}
"""
    )
    if not words:
        assert load_params(path).node("stage2", "flow").config.outcomes == "drawn"
        return
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)
