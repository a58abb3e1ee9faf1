"""Teachers under EDM and their students: pairs that can be made again, jumps that learn them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from image_models import build, card, pictures, pupil
from torch import Tensor

from weir.distillation.consistency import ConsistencyObjective
from weir.distillation.meanflow import MeanFlowObjective, mean_velocity
from weir.distillation.objective import StudentObjective
from weir.distillation.pairs import PairSet, knot_times, sample_pairs, white_noise
from weir.distillation.regression import EndpointObjective, RegressionObjective
from weir.errors import UserError
from weir.flows import edm
from weir.settings.training import Training
from weir.stages.restore import build_model
from weir.tasks.image.flow.image_flow import ImageFlow
from weir.tasks.image.settings.models import NetworkSettings
from weir.tasks.image.settings.scoring import ImageDistill
from weir.training.loop import train

TEACHERS = ("flow", "denoiser", "matching")
STEPS, KNOTS = 8, 3

OBJECTIVES: dict[str, Callable[[ImageFlow], StudentObjective]] = {
    "regression": lambda flow: RegressionObjective(pupil(flow)),
    "endpoint": lambda flow: EndpointObjective(pupil(flow)),
    "meanflow": lambda flow: MeanFlowObjective(pupil(flow), flow),
    "consistency": lambda flow: ConsistencyObjective(pupil(flow)),
    "consistency of data": lambda flow: ConsistencyObjective(pupil(flow), target="data"),
}


def pairs(teacher: ImageFlow, count: int = 16, knots: int = KNOTS) -> PairSet:
    """Two draws of some pictures' classes, as the teacher stage stores them."""
    items = torch.arange(count)
    parts = list(
        sample_pairs(
            teacher, pictures(), items, draws=2, seed=3, steps=STEPS, solver="heun", knots=knots,
            chunk=400,
        )
    )  # fmt: skip
    output, inner = (torch.cat([getattr(p, name) for p in parts]) for name in ("output", "knots"))
    times = knot_times(STEPS, knots, teacher.step_times(STEPS, "heun"))
    return PairSet(pictures(), items, output, inner, times, 3)


@pytest.mark.parametrize("name", TEACHERS)
def test_stored_noise_leads_to_the_stored_output_again(name: str) -> None:
    """Sixteen z's, integrated at once from scratch in the space of noisy events."""
    teacher = build(name)
    stored = pairs(teacher)
    z = white_noise(3, torch.arange(16), 1, teacher.event)
    condition = teacher.condition(pictures().batch(torch.arange(16)))
    if name == "matching":
        found = teacher.transport(z, condition, steps=STEPS, solver="heun").final
    else:
        sigmas = edm.karras_sigmas(STEPS)

        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            return teacher.denoise(x[:, 0], sigma.expand(16), condition.label)[:, None]

        found = edm.sample(denoiser, 80 * z, sigmas, solver="heun").final / 0.5
    torch.testing.assert_close(found, stored.output[:, :1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["flow", "denoiser"])
def test_knots_lie_on_the_trajectory_at_their_times(name: str) -> None:
    """From a knot on, in `u` and at its own noise, the sampler ends at the same output."""
    teacher = build(name)
    stored = pairs(teacher)
    assert float(stored.times[0]) == 0 and float(stored.times[-1]) == 1
    assert bool((stored.times.diff() > 0).all()) and not torch.allclose(
        stored.times, torch.linspace(0, 1, KNOTS + 2), atol=0.05
    )
    sigmas = edm.karras_sigmas(STEPS)
    condition = teacher.condition(pictures().batch(torch.arange(16)))
    for knot, step in enumerate((2, 4, 6)):
        sigma = sigmas[step]
        torch.testing.assert_close(edm.sigma_of(stored.times[knot + 1]), sigma, rtol=1e-4, atol=0)
        x = stored.knots[:, :, knot] * (sigma.square() + 0.25).sqrt()
        final = teacher.follow(x, condition, sigmas[step:], "heun").final / 0.5
        torch.testing.assert_close(final, stored.output, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_student_has_its_teacher_s_data_and_a_step(name: str) -> None:
    teacher = build(name, drop_class=0.1)
    student = pupil(teacher)
    assert teacher.guidable and not student.guidable
    assert student.student and student.nfe() == 1 and not student.has_denoiser
    batch = pictures().batch(torch.arange(3))
    x, t = torch.randn(3, 2, *teacher.event), torch.tensor(0.3)
    condition = teacher.condition(batch)
    jump = student.jump(x, t, t + 0.5, condition)
    if name == "denoiser":  # a copy: before training a step changes nothing
        torch.testing.assert_close(jump, teacher.velocity(x, t, condition))
    assert student.draw(batch, 4).shape == (3, 4, 1, 4, 3)
    assert not student.has_density


def test_a_score_flow_s_student_has_the_network_that_its_node_asks_for() -> None:
    node = ImageDistill(teacher="flow", student=NetworkSettings(kind="mlp", width=24, layers=2))
    student = build("flow").as_student(node)
    assert student.network.kind == "mlp" and student.network.network.embed.out_features == 24
    folder = replace(card("flow"), section="distill", upstream=asdict(card("flow")))
    again = build_model(replace(folder, config=node.model_dump(mode="json")))
    again.load_state_dict(student.state_dict())
    with pytest.raises(UserError, match="student is for a teacher of model flow"):
        build("denoiser").as_student(node)


@pytest.mark.parametrize("teacher", ["flow", "denoiser"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_gradient_reaches_the_step_size(name: str, teacher: str) -> None:
    model = build(teacher)
    stored = pairs(model)
    objective = OBJECTIVES[name](model).train()
    torch.manual_seed(0)
    for parameter in objective.model.parameters():  # a student of a flow starts at zero
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    loss = objective(stored.batch(torch.arange(16)), 0.5)["loss"]
    loss.backward()
    step = objective.model.network.network.step
    assert torch.isfinite(loss) and loss > 0
    assert float(step.layers[-1].weight.grad.abs().max()) > 0


def test_forward_derivatives_are_finite_at_the_noise_itself() -> None:
    """Mean-flow distillation differentiates in time at time 0, where the noise has no bound."""
    teacher = build("denoiser")
    student = pupil(teacher)
    condition = teacher.condition(pictures().batch(torch.arange(3)))
    x, v = torch.randn(2, 3, 2, *teacher.event)
    r = torch.tensor([[0.0, 1.0], [0.5, 0.0], [1.0, 0.3]])
    u, slope = mean_velocity(student, x, r, torch.ones(3, 2), condition, v)
    assert bool(torch.isfinite(u).all()) and bool(torch.isfinite(slope).all())


@pytest.mark.parametrize("teacher", TEACHERS)
def test_regression_brings_a_student_nearer(teacher: str, tmp_path: Path) -> None:
    model = build(teacher)
    stored = pairs(model, 40, knots=0)
    torch.manual_seed(0)
    objective = RegressionObjective(pupil(model))
    settings = Training(steps=40, batch_size=16, learning_rate=1e-2, validate_every=20)
    result = train(objective, stored, stored, settings, seed=0, checkpoints=tmp_path)
    losses = [entry["validation/loss"] for entry in result.history]
    assert losses[-1] < 0.9 * losses[0]
