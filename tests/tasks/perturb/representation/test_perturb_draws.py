"""Drawn counts against the law's probabilities."""

import numpy as np
import pytest
import torch
from scipy import stats

from weir.tasks.perturb.representation.nb_draws import _gamma_poisson, nb_draw

DRAWS = 60_000
LAWS = [
    (0.02, 3.0),
    (0.7, 0.3),
    (3.0, 1e6),
    (9.0, 2.0),
    (0.4, 0.01),
    (30.0, 0.2),
    (400.0, 50.0),
    (0.7, 1e-3),
]


def distance(counts: torch.Tensor, mean: float, theta: float) -> float:
    """Greatest difference of the distribution functions, in its standard units."""
    values, times = np.unique(counts.numpy(), return_counts=True)
    law = stats.nbinom.cdf(values, theta, theta / (theta + mean))
    return np.abs(times.cumsum() / len(counts) - law).max() * len(counts) ** 0.5


@pytest.mark.parametrize("draw", ["climbing", "gamma"])
def test_draws_follow_the_law(draw):
    means, thetas = torch.tensor(LAWS).unbind(1)
    generator = torch.Generator().manual_seed(0)
    rates = means.expand(DRAWS, -1)
    if draw == "climbing":
        counts = nb_draw(rates, thetas, generator)
    else:
        counts = _gamma_poisson(rates, thetas.expand_as(rates), generator)
    assert torch.equal(counts, counts.round())
    for column, (mean, theta) in enumerate(LAWS):
        # 1.95 is exceeded by one in a thousand.
        assert distance(counts[:, column], mean, theta) < 1.95, (mean, theta)


def test_entries_are_independent_and_rates_their_own():
    rates = torch.tensor([[0.1, 5.0], [5.0, 0.1]]).repeat(20_000, 1)
    counts = nb_draw(rates, torch.tensor([1.0, 4.0]), torch.Generator().manual_seed(1))
    assert abs(np.corrcoef(counts[::2].T)[0, 1]) < 0.02
    assert abs(np.corrcoef(counts[:-1:2, 0], counts[1::2, 0])[0, 1]) < 0.02
    assert counts[::2, 1].mean() / counts[1::2, 1].mean() == pytest.approx(50, rel=0.1)


def test_shapes_seeds_and_nothing_at_all():
    rates = torch.rand(3, 4, 5)
    theta = torch.ones(5)
    one, two = (nb_draw(rates, theta, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (3, 4, 5)
    assert torch.equal(one, two)
    assert not torch.equal(one, nb_draw(rates, theta, torch.Generator().manual_seed(4)))
    assert (nb_draw(torch.zeros(2, 5), theta) == 0).all()
    assert nb_draw(torch.zeros(0, 5), theta).shape == (0, 5)
    tiny = nb_draw(torch.full((2, 5), 1e-30), torch.full((5,), 1e-3))
    assert (tiny == 0).all()
