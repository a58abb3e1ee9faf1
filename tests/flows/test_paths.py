"""Paths: ends, derivatives, and the exact velocity between Gaussians."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.flows.paths import Path, sample_times

NAMES = ("linear", "trigonometric")


@pytest.mark.parametrize("name", NAMES)
def test_path_begins_at_noise_and_ends_at_data(name: str) -> None:
    x0, x1 = torch.randn(2, 3, 4)
    path = Path(name)
    torch.testing.assert_close(path.interpolate(x0, x1, torch.zeros(3)), x0)
    torch.testing.assert_close(path.interpolate(x0, x1, torch.ones(3)), x1)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(t=st.floats(0.01, 0.99))
def test_target_is_the_derivative_of_the_interpolant(name: str, t: float) -> None:
    x0, x1 = torch.randn(2, 5, dtype=torch.float64)
    path, at = Path(name), torch.tensor(t, dtype=torch.float64)
    h = 1e-5
    ahead, behind = path.interpolate(x0, x1, at + h), path.interpolate(x0, x1, at - h)
    torch.testing.assert_close(
        path.target(x0, x1, at), (ahead - behind) / (2 * h), atol=1e-7, rtol=0
    )


@pytest.mark.parametrize("name", NAMES)
def test_gaussian_gain_is_the_regression_of_the_target_on_the_state(name: str) -> None:
    torch.manual_seed(0)
    x0, x1 = torch.randn(2, 400_000, dtype=torch.float64)
    path = Path(name)
    for t in (torch.tensor(s, dtype=torch.float64) for s in (0.0, 0.3, 0.8)):
        x, target = path.interpolate(x0, x1, t), path.target(x0, x1, t)
        slope = (x * target).mean() / x.square().mean()
        torch.testing.assert_close(path.gaussian_gain(t), slope, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gain_over_a_step_is_the_exact_jump_between_equal_gaussians(name: str) -> None:
    path = Path(name)
    r, h = torch.tensor(0.2), torch.tensor(0.5)
    x, size, parts = torch.tensor(1.7), h / 1000, 1000
    jump = x + h * path.gaussian_gain(r, h) * x
    for part in range(parts):
        middle = r + (part + 0.5) * size
        x = x + size * path.gaussian_gain(middle) * x
    torch.testing.assert_close(jump, x, atol=1e-4, rtol=0)
    torch.testing.assert_close(path.gaussian_gain(r, torch.tensor(0.0)), path.gaussian_gain(r))


def test_uniform_times_fill_every_interval_once() -> None:
    times = sample_times((64,), generator=torch.Generator().manual_seed(0))
    assert torch.equal((times * 64).long().sort().values, torch.arange(64))
    assert not torch.equal(times, times.sort().values)


def test_logit_normal_times_have_the_logit_s_mean_and_deviation() -> None:
    torch.manual_seed(0)
    logit = torch.logit(sample_times((100_000,), "logit_normal", mean=-0.5, deviation=0.7))
    assert logit.mean() == pytest.approx(-0.5, abs=0.02)
    assert logit.std() == pytest.approx(0.7, abs=0.02)
