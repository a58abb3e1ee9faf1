"""Joint training: whom the gradients reach, weights, running moments."""

from __future__ import annotations

import pytest
import torch
from perturb_tiny_flow import cell_set, flow, stir

from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.flow.joint import JointObjective
from weir.tasks.perturb.representation.stage1 import Stage1Objective
from weir.tasks.perturb.settings.models import Independence, Prior


def objective(source: str = "control", **settings: object) -> JointObjective:
    model = stir(flow(frozen=False, source=source))
    prior = Prior(batch_dropout=0.0)
    first = Stage1Objective(model.vae, prior, Independence())
    return JointObjective(model, first, **{"weight": 1.0} | settings)


def batch(items: int = 64) -> Cells:
    return cell_set().batch(torch.arange(items))


@pytest.mark.parametrize("source", ["control", "noise"])
def test_gradient_of_the_flow_reaches_the_encoder_and_not_the_decoder(source: str) -> None:
    joint = objective(source).train()
    flow_loss, _ = joint._flow(batch())
    flow_loss.backward()
    vae = joint.model.vae
    assert vae.encoder.input.weight.grad.abs().sum() > 0
    assert vae.posterior.weight.grad.abs().sum() > 0
    assert vae.output.weight.grad is None and vae.theta_logit.grad is None


def test_autoencoder_alone_is_trained_at_the_start_of_the_warm_up() -> None:
    joint = objective(warmup=0.5).train()
    joint(batch(), 0.0)["loss"].backward()
    assert joint.model.vae.output.weight.grad.abs().sum() > 0
    assert all(p.grad is None or not p.grad.any() for p in joint.model.network.parameters())


def test_weight_rises_linearly() -> None:
    joint = objective(weight=4.0, warmup=0.5)
    assert [joint.flow_weight(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 2.0, 4.0, 4.0]
    assert objective(weight=3.0, warmup=0.0).flow_weight(0.0) == 3.0


def test_losses_add_up() -> None:
    joint = objective(weight=2.0, warmup=0.0).train()
    found = joint(batch(), 0.3)
    expected = found["autoencoder"] + 2 * found["flow"]
    torch.testing.assert_close(found["loss"].detach(), expected)
    with torch.no_grad():
        assert set(joint.eval()(batch(), 1.0)) == {"loss", "autoencoder", "flow", "energy"}


def test_shrinking_the_latents_does_not_lower_the_flow_s_loss() -> None:
    joint = objective().train()
    posterior = joint.model.vae.posterior

    def loss() -> float:
        torch.manual_seed(0)
        return joint._flow(batch())[0].item()

    before = loss()
    with torch.no_grad():
        width = joint.model.vae.d_int
        posterior.weight[:width] *= 0.1
        posterior.bias[:width] *= 0.1
        posterior.weight[width : 2 * width] = 0
        posterior.bias[width : 2 * width] = -10
    # The posterior's own noise goes too, so that the loss may change, but not to a hundredth.
    assert loss() > 0.3 * before


def test_running_moments_follow_in_training_and_not_otherwise() -> None:
    joint = objective(memory=5)
    before = joint.model.latent_sd.clone()
    joint.eval()(batch(), 1.0)
    assert torch.equal(joint.model.latent_sd, before)
    joint.train()
    for _ in range(25):
        joint(batch(120), 0.0)
    posterior = joint.model.vae.encode(batch(120))
    variance = posterior.mean.var(0, correction=0) + posterior.log_variance.exp().mean(0)
    torch.testing.assert_close(joint.model.latent_sd, variance.sqrt(), atol=0.02, rtol=0.02)


def test_a_batch_without_pairs_trains_the_autoencoder() -> None:
    data = cell_set()
    alone = data.batch((data.condition > 0).nonzero()[:16, 0])
    joint = objective(warmup=0.0).train()
    found = joint(alone, 0.5)
    found["loss"].backward()
    assert found["flow"] == 0 and joint.model.vae.output.weight.grad.abs().sum() > 0


def test_parameter_groups_are_disjoint_and_complete() -> None:
    joint = objective(vae_lr_scale=0.25)
    groups = joint.parameter_groups()
    named = [id(p) for group in groups for p in group["params"]]
    assert sorted(named) == sorted(id(p) for p in joint.parameters())
    scales = {id(p): group.get("lr_scale", 1.0) for group in groups for p in group["params"]}
    assert {scales[id(p)] for p in joint.model.vae.parameters()} == {0.25}
    assert {scales[id(p)] for p in joint.model.network.parameters()} == {1.0}


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(ValueError, match="not frozen"):
        JointObjective(flow(), objective().autoencoder, weight=1.0)
