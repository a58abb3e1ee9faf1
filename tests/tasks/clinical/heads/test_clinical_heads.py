"""Heads on a trained first stage: what they train, and what they leave alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from clinical_models import parameters_with_gradient, stage1_card, stage1_model, stage1_settings
from pydantic import ValidationError

from weir.artifacts.model_folder import ModelCard, save_model
from weir.metrics.classification import auroc
from weir.stages.restore import build_model, restore
from weir.tasks.clinical.flow import stage2
from weir.tasks.clinical.heads.head import OutcomeHead, RepresentedSet
from weir.tasks.clinical.settings.models import ClinicalStage2
from weir.training.loop import train

HEAD: dict[str, Any] = {"hidden": 16, "members": 2, "input_dropout": 0.1, "dropout": 0.1}


def head_on(data, representation: str = "frozen", first: dict[str, Any] | None = None, **head: Any):
    """A head, its settings, its card and its first stage."""
    config1 = stage1_settings(**({"outcome": {"weight": 0.0}} | (first or {})))
    vae = stage1_model(data, config1).eval()
    config = ClinicalStage2.model_validate(
        {
            "stage1": "sets",
            "model": "head",
            "head": HEAD | {"representation": representation} | head,
            "training": {"steps": 60, "batch_size": 32, "learning_rate": 0.01, "monitor": "auroc"},
        }
    )
    settings = config.model_dump(mode="json")
    upstream = asdict(stage1_card(data, config1))
    card = ModelCard("stage2", "head", 0, "clinical", "tiny", settings, data.card(), upstream)
    torch.manual_seed(1)
    model = build_model(card)
    assert isinstance(model, OutcomeHead)
    stage2.prepare(model, config, data.split("train"), vae)
    return model, config, card, vae


def trained(data, folder: Path, representation: str, **changes: Any) -> OutcomeHead:
    model, config, _, _ = head_on(data, representation, **changes)
    parts = model.items(data.split("train")), model.items(data.split("validation"))
    objective = stage2.objective(config, model)
    train(objective, *parts, config.training, seed=0, checkpoints=folder)
    return model


@pytest.mark.parametrize("summary", [True, False])
def test_a_frozen_first_stage_stays_as_it_was(tiny_clinical, tmp_path: Path, summary: bool):
    before = stage1_model(tiny_clinical, stage1_settings(outcome={"weight": 0.0})).state_dict()
    model = trained(tiny_clinical, tmp_path, "frozen", summary=summary)
    assert all(torch.equal(v, before[n]) for n, v in model.encoder.state_dict().items())
    test = tiny_clinical.split("test")
    with torch.no_grad():
        risk = model.risk(test.batch(torch.arange(len(test))))
    assert auroc(risk, test.outcome) > 0.8, "c0 is higher by two deviations in those with it"


def test_gradients_reach_what_they_should(tiny_clinical):
    batch = tiny_clinical.split("train").batch(torch.arange(32))
    frozen, config, _, _ = head_on(tiny_clinical)
    stage2.objective(config, frozen)(batch, 0.5)["loss"].backward()
    reached = parameters_with_gradient(frozen)
    assert reached == {n for n, _ in frozen.named_parameters() if n.startswith("head.")}
    tuned, config, _, _ = head_on(tiny_clinical, "fine_tuned", {"outcome": {"weight": 1.0}})
    stage2.objective(config, tuned)(batch, 0.5)["loss"].backward()
    idle = ("encoder.decoder.", "encoder.next_set.", "encoder.head.")
    expected = {n for n, _ in tuned.named_parameters() if not n.startswith(idle)}
    assert parameters_with_gradient(tuned) == expected
    assert {n for n, p in tuned.named_parameters() if p.requires_grad} == expected


def test_fine_tuning_changes_the_first_stage(tiny_clinical, tmp_path: Path):
    before = stage1_model(tiny_clinical, stage1_settings(outcome={"weight": 0.0})).state_dict()
    model = trained(tiny_clinical, tmp_path, "fine_tuned")
    after = model.encoder.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {"posterior.weight", "set_encoder.events", "clock_in.weight"} <= moved
    assert not any(name.startswith(("decoder.", "next_set.")) for name in moved)


def test_frozen_items_are_the_representation_computed_once(tiny_clinical):
    model, _, _, vae = head_on(tiny_clinical, summary=False, first={"summary": False})
    assert model.summary is None
    train_part = tiny_clinical.split("train")
    items = model.items(train_part)
    assert isinstance(items, RepresentedSet) and len(items) == len(train_part)
    chosen = torch.tensor([3, 1])
    with torch.no_grad():
        expected = vae.represent(train_part.batch(chosen))
        risk = model.eval().risk(train_part.batch(chosen))
    batch = items.batch(chosen)
    torch.testing.assert_close(batch.features, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.logits(batch.features).mean(-1), risk, rtol=1e-4, atol=1e-4)
    assert torch.equal(batch.outcome, train_part.outcome[chosen])
    scaled = (items.everything.features - model.mean) / model.sd
    varies = items.everything.features.std(0) > 1e-5
    assert scaled.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(
        scaled[:, varies].std(0, correction=0), torch.ones(int(varies.sum())), rtol=1e-3, atol=0
    )


def test_summary_is_added_only_where_there_is_none(tiny_clinical):
    without, _, _, vae = head_on(tiny_clinical, first={"summary": False})
    assert without.summary is not None
    assert len(without.mean) == vae.features + without.summary.features
    assert (without.summary.quantiles != 0).any()
    already, _, _, vae = head_on(tiny_clinical)
    assert already.summary is None and len(already.mean) == vae.features


def test_model_folder(tiny_clinical, tmp_path: Path):
    model, _, card, _ = head_on(tiny_clinical, first={"summary": False})
    save_model(tmp_path, model.eval(), card)
    loaded = restore(tmp_path)
    batch = tiny_clinical.split("test").batch(torch.arange(9))
    assert torch.equal(loaded.risk(batch), model.risk(batch))


def test_settings_of_the_other_model_are_refused():
    node = {"stage1": "sets", "model": "head"}
    assert ClinicalStage2.model_validate(node).head.members == 8
    assert ClinicalStage2.model_validate({"stage1": "sets"}).model == "flow"
    with pytest.raises(ValidationError, match="draws is for model flow only"):
        ClinicalStage2.model_validate(node | {"draws": 7})
    with pytest.raises(ValidationError, match="head is for model head only"):
        ClinicalStage2.model_validate({"stage1": "sets", "head": {"members": 2}})
