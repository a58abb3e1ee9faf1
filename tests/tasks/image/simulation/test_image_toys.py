"""The laws of toys: normalised, and what their points follow, at every noise level."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import integrate, stats
from torch import Tensor

from weir.tasks.image.settings.simulator import Simulation
from weir.tasks.image.simulation.simulate import POINTS, simulate
from weir.tasks.image.simulation.toy_law import ToyLaw
from weir.tasks.image.simulation.toys import LAWS, law_of, nodes

KINDS = sorted(LAWS)


def law(kind: str, **settings: object) -> ToyLaw:
    """The law of a kind."""
    return law_of({"kind": kind, **settings})


def grid(extent: float, count: int) -> tuple[Tensor, float]:
    """Middles of a grid's cells over [-extent, extent]^2, `[cell, 2]`, and a cell's area."""
    side = 2 * extent / count
    middle = -extent + side * (torch.arange(count, dtype=torch.float64) + 0.5)
    x, y = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack([x.ravel(), y.ravel()], 1), side**2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_every_class_integrates_to_one(kind, sigma):
    toy = law(kind)
    # The checkerboard's squares fill whole cells, so that the sum over cells is exact there.
    extent = 4.0 if kind == "checkerboard" else toy.extent + 6 * sigma
    extent = math.ceil(extent + 3 * sigma)
    points, area = grid(extent, (24 if sigma == 0 else 8) * extent)
    total = toy.log_prob_classes(points, sigma).exp().sum(0) * area
    assert total.tolist() == pytest.approx([1.0] * len(toy.classes), abs=2e-6)
    label = torch.zeros(len(points), dtype=torch.int64)
    assert toy.log_prob(points, label, sigma).exp().sum() * area == pytest.approx(1, abs=2e-6)
    assert toy.log_prob(points, sigma=sigma).exp().sum() * area == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_samples_follow_the_density(kind, sigma):
    """Counts in the cells of a coarse grid, against the density summed over finer cells."""
    toy = law(kind)
    fine, coarse, count = 12, 10, 20_000
    generator = torch.Generator().manual_seed(0)
    label = torch.ones(count, dtype=torch.int64)
    points = toy.sample(label, generator)
    noise = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    points = points + sigma * noise
    extent = 2.5
    cells, area = grid(extent, coarse * fine)
    mass = toy.log_prob(cells, torch.ones(len(cells), dtype=torch.int64), sigma).exp() * area
    mass = mass.reshape(coarse, fine, coarse, fine).sum((1, 3))
    edges = [np.linspace(-extent, extent, coarse + 1)] * 2
    seen, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=edges)
    wanted = mass.numpy() * count
    enough = wanted > 10
    chi2 = ((seen - wanted)[enough] ** 2 / wanted[enough]).sum()
    assert stats.chi2.sf(chi2, int(enough.sum())) > 1e-3
    assert seen[~enough].sum() < 20 + 4 * wanted[~enough].sum()


def test_moons_agree_with_an_adaptive_quadrature():
    toy = law("moons", noise=0.05)
    where = np.array([[0.4, 0.1], [-0.5, 0.75], [1.4, 1.4], [0.0, 0.0]])

    def density(t: float, x: np.ndarray) -> float:
        center = np.array([math.cos(math.pi * t) - 0.5, math.sin(math.pi * t) - 0.25])
        return math.exp(-((x - center) ** 2).sum() / 2 / 0.05**2) / (2 * math.pi * 0.05**2)

    wanted = [integrate.quad(density, 0, 1, args=(x,), limit=400, epsabs=0)[0] for x in where]
    points = torch.from_numpy(where)
    found = toy.log_prob(points, torch.zeros(4, dtype=torch.int64)).exp()
    assert found.tolist() == pytest.approx(wanted, rel=1e-9)
    # Turned by half, the lower moon is the upper one.
    turned = toy.log_prob(-points, torch.ones(4, dtype=torch.int64)).exp()
    assert turned.tolist() == pytest.approx(wanted, rel=1e-9)


def test_the_speed_along_a_spiral_is_as_told():
    toy = LAWS["spirals"](0.1)
    t = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    speed = toy.curve(t)[0].diff(dim=0).norm(dim=-1) * 20_000
    assert speed.max() == pytest.approx(toy.length, rel=1e-3)
    assert toy.curve(t).abs().max() <= toy.reach


def test_nodes_integrate_polynomials():
    t, weight = nodes(3)
    assert (weight * t**9).sum() == pytest.approx(1 / 10, rel=1e-13)


def test_a_clean_checkerboard_is_flat_on_its_squares():
    toy = law("checkerboard")
    points = torch.tensor([[-1.5, -1.5], [-1.5, -0.5], [-0.5, -0.5], [1.5, 1.5], [3.0, 0.0]])
    assert toy.log_prob(points).exp().tolist() == pytest.approx([1 / 8, 0, 1 / 8, 1 / 8, 0])
    label = torch.tensor([0, 0, 1, 3, 3])
    assert toy.log_prob(points, label).exp().tolist() == pytest.approx([0.5, 0, 0.5, 0.5, 0])
    assert torch.equal(toy.score(points), torch.zeros(5, 2))
    assert toy.classify(points)[-1].exp().tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_the_slope_of_the_log_density(kind):
    toy, sigma, step = law(kind), 0.25, 1e-5
    points = torch.tensor([[0.3, -0.7], [1.1, 0.2], [-1.9, 1.3], [9.0, -7.0]], dtype=torch.float64)
    for label in (None, torch.tensor([0, 1, 1, 0])):
        found = toy.score(points, label, sigma)
        for axis in (0, 1):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[axis] = step
            up, down = (toy.log_prob(points + s * shift, label, sigma) for s in (1, -1))
            assert ((up - down) / 2 / step).tolist() == pytest.approx(
                found[:, axis].tolist(), rel=1e-5, abs=1e-6
            )


def test_denoising_a_gaussian_is_its_wiener_filter():
    """Far from the others, one component of the ring: the clean mean is a weighted sum."""
    toy, sigma = law("mixture", noise=0.1), 0.1
    center = torch.tensor([1.5, 0.0])
    points = center + torch.tensor([[0.05, -0.1], [0.2, 0.1]])
    found = toy.denoise(points, sigma, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(found, center + 0.5 * (points - center))


def test_classes_are_told_by_bayes():
    toy = law("moons")
    points = toy.sample(torch.tensor([0, 1]).repeat(500), torch.Generator().manual_seed(1))
    posterior = toy.classify(points)
    torch.testing.assert_close(posterior.exp().sum(1), torch.ones(1000, dtype=torch.float64))
    assert (posterior.argmax(1) == torch.tensor([0, 1]).repeat(500)).float().mean() > 0.99
    ratio = toy.log_prob(points, torch.zeros(1000).long()) - toy.log_prob(points) - math.log(2)
    torch.testing.assert_close(posterior[:, 0], ratio)


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_points_are_a_function_of_the_settings(kind, tmp_path: Path):
    settings = Simulation(kind=kind, points=120)
    bytes_ = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        names = simulate(settings, tmp_path / name)
        bytes_.append([(tmp_path / name / file).read_bytes() for file in names])
    assert bytes_[0] == bytes_[1]
    assert json.loads(bytes_[0][1])["kind"] == kind
    arrays = np.load(tmp_path / "a" / POINTS)
    assert arrays["points"].shape == (120, 2)
    counts = np.bincount(arrays["labels"])
    assert counts.min() == counts.max()


def test_a_noise_without_density_is_refused():
    with pytest.raises(ValidationError, match=r"noise of moons must be at least \.02"):
        Simulation(kind="moons", noise=0.0)
