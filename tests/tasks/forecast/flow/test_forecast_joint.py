"""Joint training: curriculum, learning rates, and whom each loss's gradient reaches."""

from __future__ import annotations

import pytest
import torch
from tiny_flow import flow, stir, windows

from weir.tasks.forecast.flow.joint import Curriculum, JointObjective, point_and_likelihood


def objective(**settings: object) -> JointObjective:
    return JointObjective(stir(flow(frozen=False)), point_and_likelihood(0.5), **settings)


def test_curriculum_falls_in_the_warm_up_then_drops() -> None:
    curriculum = Curriculum(warmup=0.4, start=1.0, warm=0.7, end=0.3)
    weights = [curriculum.backbone_weight(p) for p in (0.0, 0.2, 0.3999, 0.4, 1.0)]
    assert weights == pytest.approx([1.0, 0.85, 0.7, 0.3, 0.3], abs=1e-3)
    assert Curriculum(warmup=0.0).backbone_weight(0.0) == 0.3


def test_gradient_of_the_flow_reaches_the_backbone_through_its_tokens_alone() -> None:
    joint = objective(curriculum=Curriculum(warmup=0.0, end=0.0))
    joint(windows().batch(torch.arange(8)), 0.5)["loss"].backward()
    backbone = dict(joint.model.backbone.named_parameters())
    assert backbone["embed.weight"].grad.abs().sum() > 0
    # Location and scale define the residual; the flow's loss must not pull at them.
    for head in ("location.weight", "log_scale.weight", "base_log_scale"):
        assert not backbone[head].grad.any()


def test_backbone_alone_is_trained_at_the_start() -> None:
    joint = objective()
    joint(windows().batch(torch.arange(8)), 0.0)["loss"].backward()
    assert joint.model.backbone.location.bias.grad.abs().sum() > 0
    assert all(not p.grad.any() for p in joint.model.network.parameters())


def test_losses_are_weighted_by_the_curriculum() -> None:
    joint = objective()
    losses = joint(windows().batch(torch.arange(8)), 0.9)
    expected = 0.3 * losses["backbone"] + 0.7 * losses["flow"]
    torch.testing.assert_close(losses["loss"].detach(), expected)


def test_parameter_groups_are_disjoint_complete_and_scaled() -> None:
    joint = objective(backbone_lr_scale=0.25)
    groups = joint.parameter_groups()
    named = [id(p) for group in groups for p in group["params"]]
    assert sorted(named) == sorted(id(p) for p in joint.parameters())
    assert groups[0]["lr_scale"] == 0.25
    assert {id(p) for p in groups[0]["params"]} == {
        id(p) for p in joint.model.backbone.parameters()
    }


def test_source_follows_the_residuals_while_training_and_not_otherwise() -> None:
    joint = objective(refresh=1, memory=50, kronecker=0.0, diagonal=0.01)
    data = windows()
    before = joint.model.spread.clone()
    joint.eval()(data.batch(torch.arange(64)), 0.0)
    assert torch.equal(joint.model.spread, before)
    joint.train()
    torch.manual_seed(0)
    for _ in range(100):
        joint(data.batch(torch.randint(len(data), (64,))), 0.0)
    batch = data.batch(torch.arange(len(data)))
    with torch.no_grad():
        events = joint.model.events(batch.future, joint.model.condition(batch))
    torch.testing.assert_close(
        events.square().mean(0), torch.ones(joint.model.event), atol=0.25, rtol=0
    )


def test_running_moments_are_saved() -> None:
    joint = objective()
    joint(windows().batch(torch.arange(8)), 0.0)
    state = joint.state_dict()
    assert state["batches"] == 1 and state["moment"].abs().sum() > 0


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(ValueError, match="not frozen"):
        JointObjective(flow(), point_and_likelihood())
