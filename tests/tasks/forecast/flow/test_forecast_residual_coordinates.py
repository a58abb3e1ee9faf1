"""Coordinates of residuals: inverse of each other, and normal where the law holds."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from weir.tasks.forecast.flow.network import Residual, residual_law
from weir.tasks.forecast.representation.heads import Marginal


@pytest.mark.parametrize("df", [2.1, 4.0, 30.0, torch.inf])
def test_value_inverts_score(df: float) -> None:
    value = torch.linspace(-30, 30, 601).reshape(1, 1, 601)
    law = Residual(*torch.tensor([0.7, 1.3, df])[:, None, None, None])
    back = law.value(law.score(value)[:, None])[:, 0]
    torch.testing.assert_close(back, value, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("df", [2.5, 4.0, 30.0])
def test_score_of_a_student_is_nearly_normal(df: float) -> None:
    levels = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    student = torch.from_numpy(stats.t.ppf(levels, df)).reshape(1, 1, -1)
    law = Residual(*torch.tensor([0.0, 1.0, df])[:, None, None, None])
    normal = torch.from_numpy(stats.norm.ppf(levels))
    torch.testing.assert_close(law.score(student)[0, 0], normal, rtol=0.03, atol=0.01)


def test_names_take_off_ever_more_of_the_law() -> None:
    shape = (2, 5, 3)
    law = Marginal(torch.randn(shape), torch.rand(shape) + 0.5, torch.rand(shape) * 3 + 3)
    future = torch.randn(shape).mT
    expected = {
        "direct": future,
        "raw": future - law.loc.mT,
        "scaled": (future - law.loc.mT) / law.scale.mT,
    }
    for name, coordinates in expected.items():
        torch.testing.assert_close(residual_law(name, law).score(future), coordinates)
    scored = residual_law("normal_score", law).score(future)
    assert (scored.abs() < expected["scaled"].abs()).all()
    assert (scored.sign() == expected["scaled"].sign()).all()


def test_law_without_tail_is_only_scaled() -> None:
    law = Marginal(torch.zeros(1, 4, 2), torch.full((1, 4, 2), 2.0), None)
    torch.testing.assert_close(
        residual_law("normal_score", law).score(torch.ones(1, 2, 4)), torch.full((1, 2, 4), 0.5)
    )
