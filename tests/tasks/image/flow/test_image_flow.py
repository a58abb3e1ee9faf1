"""Models of pictures as flows: one field behind denoiser, velocity and samplers; guidance."""

from __future__ import annotations

import math

import pytest
import torch
from image_models import POINTS, build, code, pictures, white
from torch import Tensor

from weir.errors import UserError
from weir.flows import edm
from weir.metrics.distances import energy_distance
from weir.tasks.image.flow.edm_flow import EdmFlow
from weir.tasks.image.flow.image_flow import ImageCondition
from weir.tasks.image.flow.matching import MatchingFlow

MODELS = ("flow", "denoiser", "matching", "plain")
CENTRES = torch.tensor([[-0.3, 0.4], [0.6, -0.1]])
DEVIATION = 0.25


class GaussianClasses(EdmFlow):
    """The exact field of two Gaussian classes of points, and of their mixture for no class."""

    def field(self, u: Tensor, sigma: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        sigma = sigma[:, None]
        x = u * (sigma.square() + 0.25).sqrt()
        variance = DEVIATION**2 + sigma.square()
        gain = DEVIATION**2 / variance
        each = CENTRES + gain[..., None] * (x[:, None] - CENTRES)
        square = (x[:, None] - CENTRES).square().sum(-1)
        share = (self.priors.log() - square / (2 * variance)).softmax(1)
        known = torch.nn.functional.one_hot(label.clamp(max=1), 2).float()
        share = torch.where((label < 2)[:, None], known, share)
        clean = (share[..., None] * each).sum(1)
        c = edm.preconditioning(sigma)
        return (clean - c.skip * x) / c.out


def exact(**settings: float) -> GaussianClasses:
    return GaussianClasses(code(POINTS), [0.6, 0.4], **settings).eval()


def law(label: int, count: int, seed: int) -> Tensor:
    return CENTRES[label] + DEVIATION * white(count, 2, seed=seed)


@pytest.mark.parametrize(
    ("solver", "steps"),
    [("heun", 18), ("euler", 80), ("ancestral", 80), ("midpoint", 40), ("dopri5", 200)],
)
def test_every_solver_draws_the_class_that_is_asked_for(solver: str, steps: int) -> None:
    model = exact()
    batch = pictures(2, schema=POINTS).batch(torch.tensor([0, 1, 0]))
    made = model.draw(
        batch, 500, steps=steps, solver=solver, generator=torch.Generator().manual_seed(7)
    )
    assert made.shape == (3, 500, 2)
    for row, label in zip(made, batch.label.tolist(), strict=True):
        events = model.code.encode(row)
        by_chance = max(
            float(energy_distance(law(label, 500, 10 + i), law(label, 500, 9))) for i in range(20)
        )
        assert float(energy_distance(events, law(label, 500, 9))) < by_chance
    assert not torch.equal(made[0], made[2])


def test_velocity_is_the_derivative_of_the_exact_flow() -> None:
    """Between Gaussians the flow is affine: `u` moves by the ratio of deviations."""
    model = exact()
    t = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64)
    condition = ImageCondition(torch.zeros(3, dtype=torch.int64))
    white_noise = white(3, 1, 2, dtype=torch.float64)

    def state(t: Tensor) -> Tensor:
        sigma = edm.sigma_of(t)[:, None, None]
        total = (sigma.square() + 0.25).sqrt()
        return (CENTRES[0] + (DEVIATION**2 + sigma.square()).sqrt() * white_noise) / total

    step = 1e-5
    slope = (state(t + step) - state(t - step)) / (2 * step)
    found = model.velocity(state(t), t, condition)
    torch.testing.assert_close(found, slope, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", ["flow", "denoiser"])
def test_velocity_and_denoiser_are_one_field(model: str) -> None:
    """`D` from the velocity: the clean event in the trigonometric path."""
    flow = build(model).double()
    sigma = torch.tensor([0.01, 0.5, 20.0], dtype=torch.float64)
    u, label = white(3, 1, 4, 3, dtype=torch.float64), torch.tensor([0, 1, 1])
    angle = torch.atan2(torch.full_like(sigma, 0.5), sigma)[:, None, None, None]
    v = flow.velocity(u[:, None], edm.time_of(sigma), ImageCondition(label))[:, 0]
    clean = 0.5 * (angle.sin() * u + angle.cos() * v * 2 / math.pi)
    x = u * (sigma.square() + 0.25).sqrt()[:, None, None, None]
    torch.testing.assert_close(flow.denoise(x, sigma, label), clean)


def test_matching_denoises_as_its_velocity_says() -> None:
    """On the straight path, `x_t = t (y + sigma n) / sigma_data` and `y = x_t + (1 - t) v`."""
    model = build("matching", POINTS)
    assert isinstance(model, MatchingFlow)
    y, n, label = 0.5 * white(6, 2), white(6, 2, seed=1), torch.arange(6) % 2
    sigma = torch.logspace(-1, 1, 6)
    t = 0.5 / (0.5 + sigma)

    class Known(MatchingFlow):
        def field(self, x: Tensor, t: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
            torch.testing.assert_close(x, (1 - t)[:, None] * n + t[:, None] * y / 0.5)
            return y / 0.5 - n

    model.__class__ = Known
    torch.testing.assert_close(model.denoise(y + sigma[:, None] * n, sigma, label), y)
    assert torch.equal(t, 0.5 / (0.5 + sigma))


@pytest.mark.parametrize("model", MODELS)
def test_draws_are_finite_reproducible_and_of_the_data_s_shape(model: str) -> None:
    flow = build(model)
    batch = pictures().batch(torch.arange(5))
    first, second = (
        flow.draw(batch, 3, steps=3, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert first.shape == (5, 3, 1, 4, 3) and torch.equal(first, second)
    assert not torch.equal(first[0, 0], first[0, 1])
    parts = flow.draw(batch, 3, steps=3, generator=torch.Generator().manual_seed(1), chunk=40)
    assert parts.shape == first.shape


@pytest.mark.parametrize("model", ["flow", "denoiser", "matching"])
def test_hidden_classes_are_learnt_and_asked_for(model: str) -> None:
    flow = build(model, drop_class=0.5).train()
    torch.manual_seed(0)
    label = torch.zeros(1000, dtype=torch.int64)
    shown = flow.shown(label)
    assert set(shown.tolist()) == {0, 2} and 400 < int((shown == 2).sum()) < 600
    assert torch.equal(flow.eval().shown(label), label)
    event, sigma = white(4, 1, 4, 3), torch.full((4,), 0.5)
    if model == "flow":
        assert torch.isfinite(flow.denoise(event, sigma)).all()
        return
    nobody = flow.denoise(event, sigma, torch.full((4,), 2))
    assert torch.equal(flow.denoise(event, sigma), nobody)
    with pytest.raises(UserError, match="drop_class"):
        build(model).denoise(event, sigma)


@pytest.mark.parametrize("model", ["flow", "denoiser", "matching"])
def test_guidance_leads_away_from_no_class(model: str) -> None:
    flow = build(model, drop_class=0.5)
    x, t = white(3, 2, 1, 4, 3), torch.tensor(0.5)
    labels = ImageCondition(torch.tensor([0, 1, 0])), ImageCondition(torch.full((3,), 2))
    known, unknown = (flow.velocity(x, t, condition) for condition in labels)
    flow.guidance = 1.5
    guided = flow.velocity(x, t, labels[0])
    torch.testing.assert_close(guided, known + 1.5 * (known - unknown), atol=1e-5, rtol=1e-4)
    assert flow.nfe(10, "midpoint") == 40
    event, sigma, label = white(3, 1, 4, 3), torch.full((3,), 0.5), labels[0].label
    before = flow.denoise(event, sigma, label)
    flow.guidance = 0.0
    assert torch.equal(flow.denoise(event, sigma, label), before)


def test_guidance_narrows_a_class() -> None:
    """Away from the other class: samples of the guided model lie further from it."""
    model = exact(drop_class=0.1)
    batch = pictures(2, schema=POINTS).batch(torch.tensor([0, 1]))
    shares = []
    for model.guidance in (0.0, 3.0):
        made = model.draw(batch, 400, generator=torch.Generator().manual_seed(0))
        centres = model.code.encode(made.flatten(0, 1)).unflatten(0, (2, 400)).mean(1)
        shares.append(float((centres[0] - centres[1]).norm()))
    assert shares[1] > 1.05 * shares[0]


def test_calls_are_counted() -> None:
    denoiser, plain = build("denoiser"), build("plain")
    assert denoiser.nfe() == 35 and denoiser.nfe(10, "euler") == 10
    assert denoiser.nfe(10, "midpoint") == 20 and plain.nfe(7) == 1
    assert build("matching").nfe(10) == 20
    assert denoiser.as_student().nfe() == 1


def test_ways_to_draw_that_a_model_has_not_are_refused() -> None:
    batch = pictures().batch(torch.arange(2))
    with pytest.raises(UserError, match="direct draws from a model's density"):
        build("denoiser").draw(batch, 2, solver="direct")
    with pytest.raises(UserError, match="ancestral is for models under EDM"):
        build("matching").draw(batch, 2, solver="ancestral")
