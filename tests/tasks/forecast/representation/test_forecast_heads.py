"""The head's closed forms against scipy, brute force and each other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from weir.tasks.forecast.representation.heads import Marginal

real = st.floats(-20, 20)
positive = st.floats(0.05, 20)
tail = st.none() | st.floats(2.05, 200)


def law(loc: float, scale: float, df: float | None) -> Marginal:
    """A law of a single value, in double precision."""
    loc, scale, df = (
        None if x is None else torch.full((1, 1, 1), x, dtype=torch.float64)
        for x in (loc, scale, df)
    )
    return Marginal(loc, scale, df)


def truth(loc: float, scale: float, df: float | None):
    return stats.norm(loc, scale) if df is None else stats.t(df, loc, scale)


@given(real, positive, tail, real)
def test_likelihood_cdf_and_spread_are_those_of_scipy(loc, scale, df, value):
    ours, theirs = law(loc, scale, df), truth(loc, scale, df)
    at = torch.tensor(value, dtype=torch.float64)
    assert ours.nll(at).item() == pytest.approx(-theirs.logpdf(value), rel=1e-6, abs=1e-6)
    assert ours.cdf(at).item() == pytest.approx(theirs.cdf(value), rel=1e-6, abs=1e-12)
    assert ours.std().item() == pytest.approx(theirs.std(), rel=1e-6)


@given(real, positive, tail, st.floats(0.001, 0.999))
def test_quantile_inverts_the_cdf(loc, scale, df, level):
    ours = law(loc, scale, df)
    assert ours.cdf(ours.quantile(level)).item() == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize("df", [None, 2.5, 5.0, 40.0])
@pytest.mark.parametrize("value", [-3.0, 0.2, 1.5])
def test_crps_is_the_integral_of_the_squared_distance_of_cdfs(df, value):
    grid = np.linspace(-400, 400, 800_001)
    distance = truth(0.4, 0.7, df).cdf(grid) - (grid >= value)
    expected = np.trapezoid(distance**2, grid)
    found = law(0.4, 0.7, df).crps(torch.tensor(value, dtype=torch.float64)).item()
    assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("df", [None, 2.5, 6.0])
def test_draws_follow_the_law(df):
    generator = torch.Generator().manual_seed(1)
    draws = law(1.0, 0.5, df).draw(20_000, generator).flatten().numpy()
    assert stats.kstest(draws, truth(1.0, 0.5, df).cdf).pvalue > 0.01


def test_draws_are_those_of_their_own_window_and_repeat_with_the_generator():
    loc = torch.tensor([0.0, 100.0])[:, None, None].expand(2, 3, 4)
    marginal = Marginal(loc, torch.ones_like(loc), torch.full_like(loc, 5.0))
    draws = marginal.draw(6, torch.Generator().manual_seed(3))
    assert draws.shape == (2, 6, 3, 4)
    assert (draws[0] < 50).all()
    assert (draws[1] > 50).all()
    assert torch.equal(draws, marginal.draw(6, torch.Generator().manual_seed(3)))


def test_likelihood_has_the_right_gradient():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(2, 3, 2, generator=generator, dtype=torch.float64) for _ in range(4)]
    loc, scale, df, value = (part.requires_grad_() for part in parts)
    assert torch.autograd.gradcheck(
        lambda a, b, c: Marginal(a, b + 0.1, c + 2).nll(value.detach()), (loc, scale, df)
    )
