"""Sources: the covariance that was asked for, and shrinkage between structure and data."""

from __future__ import annotations

import pytest
import torch

from weir.flows.sources import GaussianSource, shrink


def wishart(size: int, seed: int = 0) -> torch.Tensor:
    factor = torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    return factor @ factor.T / size + 0.1 * torch.eye(size)


def correlation(size: int, seed: int = 0) -> torch.Tensor:
    covariance = wishart(size, seed)
    deviation = covariance.diagonal().sqrt()
    return covariance / (deviation[:, None] * deviation)


def test_correlated_source_has_the_given_covariance() -> None:
    source = GaussianSource((2, 3), "correlated")
    wanted = wishart(6)
    source.set_covariance(wanted)
    draws = source((50_000, 4), torch.Generator().manual_seed(1)).reshape(-1, 6)
    assert torch.allclose(draws.mean(0), torch.zeros(6), atol=0.02)
    assert torch.allclose(draws.T.cov(), wanted, atol=0.03)


def test_isotropic_source_is_white_and_takes_no_covariance() -> None:
    source = GaussianSource((2, 3))
    white = torch.randn(5, 2, 3)
    assert torch.equal(source.colour(white), white)
    with pytest.raises(ValueError, match="takes no covariance"):
        source.set_covariance(torch.eye(6))


def test_covariance_survives_saving() -> None:
    source, copy = GaussianSource((2, 2), "correlated"), GaussianSource((2, 2), "correlated")
    source.set_covariance(wishart(4))
    copy.load_state_dict(source.state_dict())
    white = torch.randn(3, 2, 2)
    assert torch.equal(source.colour(white), copy.colour(white))


def test_indefinite_or_misshapen_covariance_is_refused() -> None:
    source = GaussianSource((2, 2), "correlated")
    with pytest.raises(ValueError, match="not positive definite"):
        source.set_covariance(torch.ones(4, 4))
    with pytest.raises(ValueError, match=r"\[3, 3\], expected \[4, 4\]"):
        source.set_covariance(torch.eye(3))


def test_kronecker_structure_is_a_fixed_point_of_shrinkage() -> None:
    across, along = correlation(3, 1).double(), correlation(4, 2).double()
    exact = torch.kron(across, along)
    for weight in (0.0, 0.5, 1.0):
        shrunk = shrink(exact, (3, 4), kronecker=weight, diagonal=0.0)
        torch.testing.assert_close(shrunk, exact, atol=1e-6, rtol=0)


def test_shrinkage_keeps_the_diagonal_and_makes_a_degenerate_matrix_definite() -> None:
    singular = torch.ones(6, 6)
    shrunk = shrink(singular, (2, 3), diagonal=0.1)
    torch.testing.assert_close(shrunk.diagonal(), torch.ones(6, dtype=torch.float64))
    assert torch.linalg.eigvalsh(shrunk).min() == pytest.approx(0.1)


def test_shrinkage_interpolates() -> None:
    raw = correlation(6)
    half = shrink(raw, (2, 3), kronecker=0.5, diagonal=0.0)
    ends = [shrink(raw, (2, 3), kronecker=k, diagonal=0.0) for k in (0.0, 1.0)]
    torch.testing.assert_close(half, (ends[0] + ends[1]) / 2)
    torch.testing.assert_close(ends[0], raw.double())
