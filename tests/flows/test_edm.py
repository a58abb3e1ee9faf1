"""EDM: coefficients, schedule and samplers against a mixture of Gaussians known at every noise."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian_mixture import two_clusters
from torch import Tensor

from weir.errors import WeirError
from weir.flows import edm
from weir.flows.paths import Path
from weir.metrics.distances import energy_distance


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noises_are_log_normal() -> None:
    logs = edm.sample_sigma((20_000,), -1.2, 1.2, generator=generator(0)).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.03)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.03)


def test_karras_grid_is_the_published_formula() -> None:
    sigmas = edm.karras_sigmas(10, 0.002, 80.0, 7.0)
    assert sigmas.shape == (11,) and float(sigmas[-1]) == 0
    for i in range(10):
        root = 80 ** (1 / 7) + i / 9 * (0.002 ** (1 / 7) - 80 ** (1 / 7))
        assert float(sigmas[i]) == pytest.approx(root**7, rel=1e-5)
    assert torch.equal(edm.karras_sigmas(1), torch.tensor([80.0, 0.0]))
    with pytest.raises(ValueError, match="at least one step"):
        edm.karras_sigmas(0)


def test_preconditioned_input_and_target_have_unit_variance_at_every_noise() -> None:
    """For data of the stated deviation; the weight makes the error in F count once."""
    y = 0.5 * torch.randn(200_000, generator=generator(1), dtype=torch.float64)
    white = torch.randn(200_000, generator=generator(2), dtype=torch.float64)
    for value in (0.01, 0.3, 5.0):
        sigma = torch.tensor(value, dtype=torch.float64)
        c = edm.preconditioning(sigma)
        x = y + sigma * white
        target = (y - c.skip * x) / c.out
        assert float((c.input * x).var()) == pytest.approx(1, rel=0.02)
        assert float(target.var()) == pytest.approx(1, rel=0.02)
        # EDM's weight of |D - y|^2 makes it the squared error of F.
        assert (value**2 + 0.25) / (value * 0.5) ** 2 * float(c.out) ** 2 == pytest.approx(1)
        assert float(c.noise) == pytest.approx(math.log(value) / 4)


def test_time_and_noise_translate_to_the_trigonometric_path() -> None:
    sigma = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64)
    t = edm.time_of(sigma)
    torch.testing.assert_close(edm.sigma_of(t), sigma)
    y, white = torch.randn(2, 3, generator=generator(0), dtype=torch.float64)
    u = (y + sigma * white) / (sigma.square() + 0.25).sqrt()
    torch.testing.assert_close(Path("trigonometric").interpolate(white, y / 0.5, t), u)
    ends = edm.time_of(torch.tensor([0.0]))
    assert float(ends) == 1
    assert float(edm.sigma_of(torch.tensor(0.0), 0.5, 0.002, 80.0)) == 80


def by_chance(count: int, truth: Tensor) -> float:
    """The furthest that one of 20 samples of the mixture itself is from `truth`."""
    samples = (two_clusters().draw(count, generator(6 + i)) for i in range(20))
    return max(float(energy_distance(sample, truth)) for sample in samples)


@pytest.mark.parametrize(("solver", "steps"), [("heun", 18), ("euler", 120), ("ancestral", 120)])
def test_every_sampler_recovers_a_mixture_from_its_denoiser(solver: str, steps: int) -> None:
    """As close to the mixture, in energy distance, as the furthest of 20 of its own samples."""
    law, count = two_clusters(), 1500
    calls = 0

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return law.denoise(x, sigma)

    sigmas = edm.karras_sigmas(steps).double()
    white = torch.randn(count, 2, generator=generator(101), dtype=torch.float64)
    made = edm.sample(denoiser, 80 * white, sigmas, solver=solver, generator=generator(4))
    truth = law.draw(1500, generator(5))
    assert float(energy_distance(made.final, truth)) < by_chance(count, truth)
    assert calls == made.nfe == edm.nfe(solver, steps)


def test_the_samplers_have_their_orders() -> None:
    """Errors of the end point of one trajectory, under halved steps."""
    law = two_clusters()
    start = 2.0 * torch.tensor([[0.3, -1.0], [-0.8, 0.2]], dtype=torch.float64)

    def end(solver: str, steps: int) -> Tensor:
        # Ends before 0, where steps are of equal size in the logarithm.
        sigmas = torch.logspace(math.log10(2), -1, steps + 1, dtype=torch.float64)
        return edm.sample(law.denoise, start, sigmas, solver=solver).final

    exact = end("heun", 500)
    for solver, order in (("euler", 1), ("heun", 2)):
        errors = [float((end(solver, n) - exact).abs().max()) for n in (40, 80)]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_ancestral_steps_have_the_noise_of_the_next_level() -> None:
    """With a denoiser that knows the truth, any step leaves exactly the smaller noise."""
    y = torch.full((100_000, 1), 0.4, dtype=torch.float64)
    x = y + 3.0 * torch.randn(y.shape, generator=generator(0), dtype=torch.float64)
    sigmas = torch.tensor([3.0, 1.2], dtype=torch.float64)
    out = edm.sample(
        lambda x, sigma: y, x, sigmas, solver="ancestral", generator=generator(1)
    ).final
    assert float((out - y).std()) == pytest.approx(1.2, rel=0.01)
    # The regression on the noisier state is that of the posterior.
    slope = ((out - y) * (x - y)).mean() / (x - y).square().mean()
    assert float(slope) == pytest.approx((1.2 / 3.0) ** 2, abs=0.01)


def test_knots_are_states_of_the_grid() -> None:
    law = two_clusters()
    sigmas = edm.karras_sigmas(8).double()
    x = 80 * torch.randn(5, 2, generator=generator(0), dtype=torch.float64)
    found = edm.sample(law.denoise, x, sigmas, solver="euler", knots=5)
    assert torch.equal(found.times, sigmas[::2])
    assert torch.equal(found.knots[0], x) and torch.equal(found.knots[-1], found.final)
    part = edm.sample(law.denoise, x, sigmas[:5], solver="euler")
    assert torch.equal(found.knots[2], part.final)


def test_nan_is_an_error_that_names_step_and_noise() -> None:
    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        return x * (math.nan if float(sigma) < 1 else 1)

    sigmas = torch.tensor([4.0, 2.0, 0.5, 0.0])
    with pytest.raises(WeirError, match=r"denoised state .* at step 2, sigma = 0\.5"):
        edm.sample(broken, torch.zeros(2, 3), sigmas, solver="euler")
