"""Scores of densities: true gradients, Tweedie's formula, likelihood, posterior and losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from image_models import PICTURES, POINTS, build, card, code, pictures, white
from torch import Tensor

from weir.errors import UserError
from weir.stages.restore import build_model
from weir.tasks.image.flow.image_flow import ImageCondition, ImageFlow
from weir.tasks.image.flow.score_flow import ScoreFlow, ScoreObjective, log_prob_and_score

SMOOTH = ("affine", "gaussianization", "sos")


def score_flow(transform: str = "gaussianization", coupling: bool = False) -> ScoreFlow:
    """A random score flow of pictures of twelve pixels."""
    shape = {"layers": 2, "hidden": [16], "components": 3, "embedding": 8}
    made = build("flow", density=shape | {"transform": transform, "coupling": coupling})
    assert isinstance(made, ScoreFlow)
    return made


@dataclass
class Mixture:
    """Density of noisy isotropic Gaussians of every class, in closed form, in place of a flow.

    Attributes:
        mean: `[class, component, dimension]`, event units.
        deviation: of each component, event units.
    """

    mean: Tensor
    deviation: float
    learnt_below: float = math.inf

    def log_prob(self, u: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        total = (sigma.square() + 0.25).sqrt()
        x, size = u.flatten(1) * total[:, None], u[0].numel()
        variance = self.deviation**2 + sigma.square()
        square = (x[:, None] - self.mean[label]).square().sum(-1)
        logs = -square / (2 * variance[:, None]) - math.log(self.mean.shape[1])
        normal = size / 2 * (2 * math.pi * variance).log()
        return torch.logsumexp(logs, 1) - normal + size * total.log()

    def sample(self, sigma: Tensor, label: Tensor, generator: object = None) -> Tensor:
        raise NotImplementedError

    def posterior_mean(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """`E[y | x]` by Bayes' rule, without a score."""
        mean = self.mean[label]
        variance = self.deviation**2 + sigma.square()[:, None]
        share = (-(x[:, None] - mean).square().sum(-1) / (2 * variance)).softmax(1)
        gain = (self.deviation**2 / variance)[..., None]
        return (share[..., None] * (mean + gain * (x[:, None] - mean))).sum(1)


def mixture_flow(components: int) -> tuple[ScoreFlow, Mixture]:
    """A score flow of points whose density is a mixture, in double precision."""
    mean = 0.5 * white(2, components, 2, seed=4, dtype=torch.float64)
    law = Mixture(mean, 0.3)
    return ScoreFlow(code(POINTS), [0.6, 0.4], law).double().eval(), law


@pytest.mark.parametrize("transform", SMOOTH)
@pytest.mark.parametrize("coupling", [False, True])
def test_score_is_the_gradient_by_finite_differences(transform: str, coupling: bool) -> None:
    density = score_flow(transform, coupling).double().density
    u, sigma = white(3, 1, 4, 3, dtype=torch.float64), torch.tensor([0.0, 0.3, 5.0]).double()
    label = torch.tensor([0, 1, 2])
    log, score = log_prob_and_score(density, u, sigma, label)
    step = 1e-5
    with torch.no_grad():
        for pixel in torch.eye(12, dtype=torch.float64).reshape(12, 1, 1, 4, 3):
            ahead, behind = (density.log_prob(u + s * pixel, sigma, label) for s in (step, -step))
            slope = (ahead - behind) / (2 * step)
            torch.testing.assert_close((score * pixel).sum((1, 2, 3)), slope, atol=1e-7, rtol=1e-6)
        torch.testing.assert_close(log, density.log_prob(u, sigma, label))
    assert not score.requires_grad and not log.requires_grad


@pytest.mark.parametrize("transform", SMOOTH)
def test_score_field_is_conservative(transform: str) -> None:
    """The Jacobian of a gradient is symmetric; a free network's is not."""

    def jacobian(model: ImageFlow) -> Tensor:
        step, at = 1e-5, 0.5 * white(12, dtype=torch.float64)
        sigma, label = torch.full((12,), 0.4).double(), torch.full((12,), 1)
        moves = step * torch.eye(12, dtype=torch.float64)
        ahead, behind = (
            model.denoise((at + sign * moves).reshape(12, 1, 4, 3), sigma, label).flatten(1)
            for sign in (1, -1)
        )
        return ((ahead - behind) / (2 * step)).detach()

    found, free = (jacobian(m.double()) for m in (score_flow(transform), build("denoiser")))
    assert float((found - found.diag().diag()).abs().max()) > 1e-3
    torch.testing.assert_close(found, found.T, atol=1e-7, rtol=1e-6)
    assert float((free - free.T).abs().max()) > 1e-3


@pytest.mark.parametrize("components", [1, 3])
def test_tweedie_gives_the_posterior_mean(components: int) -> None:
    """Of a Gaussian, where it is the Wiener filter, and of a mixture."""
    model, law = mixture_flow(components)
    sigma = torch.logspace(-2.5, 1.8, 30, dtype=torch.float64)
    label = torch.arange(30) % 2
    x = law.mean[label, 0] + sigma[:, None] * white(30, 2, dtype=torch.float64)
    with torch.no_grad():
        clean = model.denoise(x, sigma, label)
    torch.testing.assert_close(clean, law.posterior_mean(x, sigma, label), atol=1e-8, rtol=1e-6)
    if components == 1:
        gain = 0.09 / (0.09 + sigma.square())[:, None]
        torch.testing.assert_close(clean, law.mean[label, 0] + gain * (x - law.mean[label, 0]))


def test_without_a_class_all_classes_are_weighed() -> None:
    """Denoiser and density are those of the mixture of both classes by their priors."""
    model, law = mixture_flow(1)
    sigma, x = torch.full((20,), 0.4).double(), white(20, 2, dtype=torch.float64)
    variance = 0.09 + 0.16
    means = law.mean[:, 0]
    logs = torch.tensor([0.6, 0.4]).double().log() - (x[:, None] - means).square().sum(-1) / (
        2 * variance
    )
    one = torch.stack([law.posterior_mean(x, sigma, torch.full((20,), c)) for c in (0, 1)], 1)
    expected = (logs.softmax(1)[..., None] * one).sum(1)
    torch.testing.assert_close(model.denoise(x, sigma), expected, atol=1e-7, rtol=1e-6)
    unit = model.code.decode(x)
    both = torch.stack([model.log_prob(unit, torch.full((20,), c)) for c in (0, 1)], 1)
    joint = both + torch.tensor([0.6, 0.4]).double().log()
    torch.testing.assert_close(model.log_prob(unit), joint.logsumexp(1), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(model.classify(unit), joint.log_softmax(1), atol=1e-6, rtol=1e-6)


def test_density_of_the_unit_scale_integrates_to_one() -> None:
    """Through both changes of scale, of a random flow on points."""
    model = build("flow", POINTS)
    side = torch.linspace(-30, 30, 301)
    unit = torch.cartesian_prod(side, side)
    with torch.no_grad():
        log = model.log_prob(unit, torch.zeros(len(unit), dtype=torch.int64))
    assert float(log.exp().sum() * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=5e-3)


def test_noisy_density_is_that_of_the_mixture_in_event_units() -> None:
    model, law = mixture_flow(2)
    x, sigma = white(9, 2, dtype=torch.float64), torch.full((9,), 0.7).double()
    label = torch.zeros(9, dtype=torch.int64)
    variance = 0.09 + 0.49
    square = (x[:, None] - law.mean[0]).square().sum(-1)
    expected = (-square / (2 * variance)).exp().mean(1) / (2 * math.pi * variance)
    torch.testing.assert_close(model.log_density(x, sigma, label).exp(), expected)


@pytest.mark.parametrize("transform", SMOOTH)
@pytest.mark.parametrize("coupling", [False, True])
def test_losses_have_finite_gradients_of_second_order(transform: str, coupling: bool) -> None:
    model = score_flow(transform, coupling).train()
    torch.manual_seed(0)
    losses = ScoreObjective(model)(pictures().batch(torch.arange(30)), 0.0)
    assert set(losses) == {"loss", "nll", "matching"}
    losses["matching"].backward()
    gradients = [p.grad for p in model.density.layers.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
    assert all(float(g.abs().max()) > 0 for g in gradients if g is not None and g.ndim == 2)


def test_losses_are_those_of_the_truth() -> None:
    """With the true density, matching is the Bayes error and no other density is likelier."""
    model, law = mixture_flow(1)
    label = torch.zeros(4000, dtype=torch.int64)
    event = law.mean[0, 0] + 0.3 * white(4000, 2, dtype=torch.float64)
    torch.manual_seed(0)
    found = ScoreObjective(model, clean=0.0).losses(event, label)
    # Of F's target the Wiener filter leaves 1 / out^2 times the posterior variance.
    torch.manual_seed(0)
    sigma = torch.exp(-1.2 + 1.2 * torch.randn(4000)).double()
    posterior = 1 / (1 / 0.09 + 1 / sigma.square())
    weight = (sigma.square() + 0.25) / (sigma * 0.5).square()
    assert float(found["matching"]) == pytest.approx(float((weight * posterior).mean()), rel=0.05)
    moved = Mixture(law.mean + 0.1, 0.3)
    model.density = moved
    torch.manual_seed(0)
    other = ScoreObjective(model, clean=0.0).losses(event, label)
    assert float(other["nll"]) > float(found["nll"])
    assert float(other["matching"]) > float(found["matching"])


def test_clean_items_teach_the_density_alone() -> None:
    model, objective = score_flow(), ScoreObjective(score_flow(), clean=0.5)
    event, label = white(10, *model.event), torch.zeros(10, dtype=torch.int64)
    losses = []
    for scale in (1.0, 2.0):  # of the first half, which is shown without noise
        torch.manual_seed(0)
        losses.append(objective.losses(torch.cat([scale * event[:5], event[5:]]), label))
    assert torch.equal(losses[0]["matching"], losses[1]["matching"])
    assert float(losses[0]["nll"]) != float(losses[1]["nll"])


def test_likelihood_alone_takes_no_score() -> None:
    """Which may be infinite, and costs as much again."""
    model = score_flow().train()
    event, label = white(6, *model.event), torch.zeros(6, dtype=torch.int64)
    found = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        found[weight] = ScoreObjective(model, matching=weight).losses(event, label)
    assert "matching" not in found[0.0]
    assert torch.equal(found[0.0]["loss"], found[0.0]["nll"])
    torch.testing.assert_close(found[0.0]["nll"], found[1.0]["nll"])


def test_a_single_item_is_noisy_whatever_the_share_of_clean_ones() -> None:
    model = score_flow()
    losses = ScoreObjective(model, clean=0.9).losses(white(1, *model.event), torch.zeros(1).long())
    assert all(bool(value.isfinite()) for value in losses.values())


def test_direct_draws_are_the_density_s_and_may_be_denoised() -> None:
    model = score_flow()
    condition = ImageCondition(torch.tensor([0, 1]))
    plain = model.direct(condition, 3, 1, torch.Generator().manual_seed(5))
    label = condition.label.repeat_interleave(3)
    drawn = model.density.sample(torch.zeros(6), label, torch.Generator().manual_seed(5))
    assert torch.equal(plain, drawn.reshape(2, 3, 1, 4, 3))
    model.direct_sigma = 0.2
    once = model.direct(condition, 3, 2, torch.Generator().manual_seed(5))
    sigma = torch.full((6,), 0.2)
    x = model.density.sample(sigma, label, torch.Generator().manual_seed(5))
    x = x * math.sqrt(0.04 + 0.25)
    clean = model.denoise(x, sigma, label).reshape(2, 3, 1, 4, 3)
    torch.testing.assert_close(once * 0.5, clean)
    assert model.nfe(1, "direct") == 1 and model.nfe(2, "direct") == 2


def test_latents_have_no_density_of_pictures() -> None:
    schema = PICTURES | {"shape": [1, 8, 8]}
    model = build_model(card("flow", schema, code="vae"))
    assert not model.has_density and model.has_denoiser
    with pytest.raises(UserError, match="none of pictures"):
        model.log_prob(torch.zeros(1, 1, 8, 8), torch.tensor([0]))
