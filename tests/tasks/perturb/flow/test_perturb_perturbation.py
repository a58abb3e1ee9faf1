"""The perturbation adapter: exactly nothing without a dose, sets, pairs, dose curves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.tasks.perturb.flow.context import DoseFeatures, PerturbationAdapter

CURVES = ("hill", "log", "hill_and_log")


def adapter(curve: str = "hill", seed: int = 0, **shape: int) -> PerturbationAdapter:
    """An adapter whose every parameter, biases too, is away from zero."""
    torch.manual_seed(seed)
    model = PerturbationAdapter(torch.tensor([1.0, 0.5, 20.0]), 4, curve=curve, **shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


@settings(max_examples=30, deadline=None)
@given(curve=st.sampled_from(CURVES), seed=st.integers(0, 10**6), size=st.floats(0.1, 1e4))
def test_no_dose_gives_exact_zeros_in_every_context(curve: str, seed: int, size: float) -> None:
    model = adapter(curve, seed)
    alpha = model(torch.zeros(5, 3), size * torch.randn(5, 4))
    assert alpha.eq(0).all() and alpha.shape == (5, 32)


@pytest.mark.parametrize("curve", CURVES)
def test_gradients_at_no_dose_are_finite(curve: str) -> None:
    model = adapter(curve)
    doses = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 2.0]], requires_grad=True)
    model(doses, torch.randn(2, 4)).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert torch.isfinite(doses.grad).all()


def test_hill_curve_is_the_formula() -> None:
    features = DoseFeatures(torch.tensor([2.0]), "hill")
    with torch.no_grad():
        features.log_ec50.fill_(0.7)
        features.log_slope.fill_(0.4)
    dose = torch.tensor([[0.0], [0.3], [2.0], [40.0]], dtype=torch.float64)
    power = torch.tensor(0.4).exp().double()
    relative, ec50 = dose / 2, torch.tensor(0.7).exp().double()
    expected = relative**power / (ec50**power + relative**power)
    torch.testing.assert_close(
        features(dose.float())[..., 0], expected.float(), rtol=1e-5, atol=1e-6
    )


def test_log_curve_is_the_formula() -> None:
    dose = torch.tensor([[0.0], [3.0]])
    found = DoseFeatures(torch.tensor([1.5]), "log")(dose)
    torch.testing.assert_close(found[..., 0], torch.log(1 + dose / 1.5))


@pytest.mark.parametrize("curve", ["hill", "log"])
def test_response_along_its_direction_rises_with_the_dose(curve: str) -> None:
    model = adapter(curve)
    doses = torch.zeros(9, 3)
    doses[:, 1] = torch.logspace(-2, 2, 9)
    model.factor = None
    alpha = model(doses, torch.zeros(1, 4).expand(9, -1))
    along = alpha @ alpha[-1]
    assert (along.diff() > 0).all()
    # One direction only: what a dose changes is how far, not where to.
    assert torch.linalg.matrix_rank(alpha, rtol=1e-4) == 1


def test_unknown_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown dose curve"):
        adapter("linear")


def test_without_interaction_a_set_is_the_sum_of_its_members() -> None:
    model, context = adapter(interaction=0), torch.randn(1, 4)
    a, b = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 0.7, 0]])
    torch.testing.assert_close(model(a + b, context), model(a, context) + model(b, context))


def test_interaction_is_zero_unless_two_are_present() -> None:
    model = adapter()
    one = torch.diag(torch.tensor([0.3, 1.1, 7.0]))
    assert model._pairs(model.doses(one)).eq(0).all()
    two = torch.tensor([[0.3, 1.1, 0.0]])
    both = model.doses(two)[0, :, 0, None] * model.factor[:, 0]
    torch.testing.assert_close(model._pairs(model.doses(two))[0], both[0] * both[1])


def test_interaction_of_three_is_the_sum_over_pairs() -> None:
    model, doses = adapter("hill_and_log"), torch.tensor([[0.3, 1.1, 9.0]])
    single = (model.doses(doses)[..., None] * model.factor).sum(2)[0]
    expected = single[0] * single[1] + single[0] * single[2] + single[1] * single[2]
    torch.testing.assert_close(model._pairs(model.doses(doses))[0], expected, rtol=1e-4, atol=1e-5)


def test_gate_is_one_at_initialisation_and_follows_the_context_afterwards() -> None:
    torch.manual_seed(0)
    model, doses = PerturbationAdapter(torch.ones(3), 4), torch.tensor([[1.0, 0, 0]])
    first, second = torch.randn(1, 4), torch.randn(1, 4)
    assert torch.equal(model(doses, first), model(doses, second))
    with torch.no_grad():
        model.gate.weight.normal_()
    assert not torch.equal(model(doses, first), model(doses, second))
