"""The plain flow: activations that are increasing and onto, and a log-determinant that is true."""

from __future__ import annotations

import math

import pytest
import torch
from image_models import POINTS, build, card, pictures, white

from weir.errors import UserError
from weir.stages.restore import build_model
from weir.tasks.image.flow.plain_flow import LEAST_LEAK, LEAST_SLOPE, LeakyActivation, PlainFlow

X = torch.linspace(-30, 30, 601, dtype=torch.float64)


@pytest.mark.parametrize("name", LEAST_SLOPE)
def test_activation_is_increasing_with_the_slope_it_claims(name: str) -> None:
    activation = LeakyActivation(name, LEAST_LEAK[name] + 0.005)
    x = X.clone().requires_grad_()
    y, log_slope = activation(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log(), atol=1e-8, rtol=1e-8)
    assert float(slope.min()) >= activation.least > 0
    torch.testing.assert_close(activation.inverse(y.detach()), X, atol=1e-6, rtol=1e-6)


def test_swish_needs_its_leak() -> None:
    """At .0908 it is flat somewhere; below, it falls there."""
    assert LEAST_LEAK["swish"] == pytest.approx(0.0908, abs=1e-4)
    x = torch.linspace(-4, 0, 4001, dtype=torch.float64)
    swish = x * torch.sigmoid(x)
    assert float((0.0900 * x + 0.9100 * swish).diff().min()) < 0
    assert float((0.0915 * x + 0.9085 * swish).diff().min()) > 0
    with pytest.raises(ValueError, match="leak must lie in"):
        LeakyActivation("swish", 0.09)


@pytest.mark.parametrize("name", LEAST_SLOPE)
@pytest.mark.parametrize("conditional", [True, False])
def test_density_integrates_to_one(name: str, conditional: bool) -> None:
    settings = {"activation": name, "leak": 0.6, "layers": 2, "conditional": conditional}
    model = build("plain", POINTS, plain=settings)
    side = torch.linspace(-40, 40, 601)
    unit = torch.cartesian_prod(side, side)
    log = model.log_prob(unit, torch.ones(len(unit), dtype=torch.int64))
    assert float(log.exp().sum() * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=1e-2)


def test_log_determinant_is_that_of_the_whole_map() -> None:
    model = build("plain").double()
    assert isinstance(model, PlainFlow)
    u, label = white(1, 12, dtype=torch.float64), torch.tensor([1])

    def through(u: torch.Tensor) -> torch.Tensor:
        z = u[None]
        for i, linear in enumerate(model.linear):
            z = linear(z, label)[0]
            z = model.activation(z)[0] if i + 1 < len(model.linear) else z
        return z[0]

    jacobian = torch.autograd.functional.jacobian(through, u[0])
    normal = -0.5 * through(u[0]).square().sum() - 6 * math.log(2 * math.pi)
    expected = normal + torch.linalg.slogdet(jacobian).logabsdet
    found = model.log_density(u.reshape(1, 1, 4, 3), label)[0]
    torch.testing.assert_close(found, expected)


def test_draws_map_back_to_their_noise() -> None:
    model = build("plain")
    assert isinstance(model, PlainFlow)
    label = torch.tensor([0, 1])
    condition = model.condition(pictures().batch(label))
    u = model.direct(condition, 4, 1, torch.Generator().manual_seed(2)).flatten(0, 1).flatten(1)
    labels = label.repeat_interleave(4)
    for i, linear in enumerate(model.linear):
        u = linear(u, labels)[0]
        u = model.activation(u)[0] if i + 1 < len(model.linear) else u
    torch.testing.assert_close(u, white(8, 12, seed=2), atol=1e-4, rtol=1e-4)


def test_without_the_class_all_classes_are_alike() -> None:
    model = build("plain", plain={"conditional": False, "layers": 1})
    unit = white(5, 1, 4, 3)
    log = [model.log_prob(unit, torch.full((5,), c)) for c in (0, 1)]
    assert torch.equal(*log)
    torch.testing.assert_close(model.log_prob(unit), log[0])
    torch.testing.assert_close(model.classify(unit).exp(), model.priors.expand(5, 2))


def test_it_is_no_teacher() -> None:
    model = build_model(card("plain"))
    with pytest.raises(UserError, match="no velocity to follow or to distil"):
        model.as_student()
