"""The last layer of mixtures: noise in closed form, and a start at each coordinate's own law."""

from __future__ import annotations

import math

import pytest
import torch
from image_models import card, code, pictures, stir
from torch.distributions import Categorical, MixtureSameFamily, Normal

from weir.errors import UserError
from weir.stages.restore import build_model
from weir.tasks.image.density.mixture_law import (
    Cells,
    MixtureLaw,
    frequent_levels,
    marginal_mixtures,
)
from weir.tasks.image.flow import stage2
from weir.tasks.image.settings.models import ImageStage2


def densities(
    law: MixtureLaw, context: torch.Tensor, at: torch.Tensor, gate: float
) -> torch.Tensor:
    """Densities of the one coordinate at places `[place]`, all at one gate and context."""
    gates = torch.full((len(at),), gate, dtype=torch.float64)
    return law.log_prob(at[:, None], context.expand(len(at), -1), gates).exp()


def widened(clean: torch.Tensor, side: torch.Tensor, u: torch.Tensor, gate: float) -> torch.Tensor:
    """Density of `g z + sqrt(1 - g^2) n` at `u`, by quadrature over z on the grid `side`."""
    noise = Normal(gate * side, math.sqrt(1 - gate**2)).log_prob(u[:, None]).exp()
    return (noise * clean).sum(1) * (side[1] - side[0])


def test_convolved_components_are_those_of_the_data_under_noise() -> None:
    torch.manual_seed(0)
    law = stir(MixtureLaw((1,), 2, components=3, width=4, convolved=True)).double().eval()
    context = torch.randn(1, 2, dtype=torch.float64)
    side = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    u = torch.linspace(-3, 3, 7, dtype=torch.float64)
    with torch.no_grad():
        clean = densities(law, context, side, 1.0)
        for gate in (0.99, 0.6, 0.05):
            found = densities(law, context, u, gate)
            torch.testing.assert_close(found, widened(clean, side, u, gate))


def test_single_precision_holds_as_narrow_components_as_there_may_be() -> None:
    torch.manual_seed(0)
    law = MixtureLaw((1,), 2, components=2, width=4, convolved=True).eval()
    with torch.no_grad():
        law.network.last.weight.zero_()
        law.network.alone.weight.zero_()
        law.network.last.bias.copy_(torch.tensor([0.0, 0.0, 0.3, -0.3, -40.0, -13.0]))
    z, context = torch.tensor([[0.3], [0.3001], [-0.3]]), torch.randn(3, 2)
    for noise in (0.0, 0.004, 0.7):
        gate = torch.full((3,), 0.25 + noise**2).rsqrt() * 0.5
        found = law.float().log_prob(z, context, gate)
        exact = law.double().log_prob(z.double(), context.double(), gate.double())
        torch.testing.assert_close(found.double(), exact, atol=1e-2, rtol=1e-3)


def test_marginal_mixtures_are_the_law_of_each_coordinate() -> None:
    torch.manual_seed(0)
    truth = MixtureSameFamily(
        Categorical(torch.tensor([[0.8, 0.2], [0.5, 0.5]])),
        Normal(torch.tensor([[-1.0, 2.0], [0.0, 0.5]]), torch.tensor([[0.01, 0.5], [0.2, 0.1]])),
    )
    z = torch.cat([truth.sample((4000,)), torch.full((4000, 1), 0.3)], 1)
    weight, mean, log_scale = marginal_mixtures(z, 4)
    torch.testing.assert_close(weight.sum(1), torch.ones(3), atol=0.01, rtol=0)
    found = MixtureSameFamily(Categorical(weight), Normal(mean, log_scale.exp()))
    held = torch.cat([truth.sample((4000,)), torch.full((4000, 1), 0.3)], 1)
    gap = truth.log_prob(held[:, :2]).mean(0) - found.log_prob(held)[:, :2].mean(0)
    assert bool((gap.abs() < 0.06).all())  # of which the wide component costs .02
    # A coordinate that never changes is narrow, and what it has never shown is not impossible.
    assert float(found.log_prob(held).mean(0)[2]) > 5
    assert float(found.log_prob(torch.full((1, 3), 2.0))[0, 2]) > -9


def test_training_begins_with_the_law_of_each_pixel() -> None:
    node = ImageStage2.model_validate(
        {"stage1": "s", "density": {"hidden": [16, 16], "components": 4, "convolved": True}}
    )
    data = pictures(200)
    losses = []
    for started in (False, True):
        torch.manual_seed(0)
        model = build_model(card("flow", density=node.density.model_dump()))
        if started:
            stage2.prepare(model, node, data, code())
        else:
            model.code.fit(data)
        torch.manual_seed(1)
        objective = stage2.objective(node, model).eval()
        losses.append(objective(data.batch(torch.arange(200)), 0.0)["nll_clean"])
    assert losses[1] < losses[0] - 0.1


def test_settings_of_mixtures_are_for_mixtures() -> None:
    with pytest.raises(ValueError, match="for transform mixture"):
        ImageStage2.model_validate(
            {"stage1": "s", "density": {"transform": "affine", "convolved": True}}
        )
    with pytest.raises(UserError, match=r"density\.neighbours: needs pictures"):
        MixtureLaw((2,), 4, neighbours={"radius": 1, "width": 4})


def test_components_of_levels_are_their_cells_under_noise() -> None:
    """Their density, and the law of their draws."""
    torch.manual_seed(0)
    law = stir(MixtureLaw((1,), 2, components=2, width=4, convolved=True, levels=2)).double().eval()
    cells = Cells(torch.tensor([-1.0, 0.3]), torch.tensor(0.1))
    law.middle.copy_(cells.middle)
    law.half_width.copy_(cells.half)
    context = torch.randn(1, 2, dtype=torch.float64)
    side = torch.linspace(-12, 12, 24001, dtype=torch.float64)
    u = torch.linspace(-3, 3, 13, dtype=torch.float64)
    step = side[1] - side[0]
    with torch.no_grad():
        clean = densities(law, context, side, 1.0)
        torch.testing.assert_close(clean.sum() * step, torch.tensor(1.0, dtype=torch.float64))
        for gate in (0.9999, 0.97, 0.6, 0.05):
            found = densities(law, context, u, gate)
            torch.testing.assert_close(found, widened(clean, side, u, gate), rtol=1e-4, atol=1e-6)
        for gate in (1.0, 0.9):
            gates = torch.full((20_000,), gate, dtype=torch.float64)
            drawn = law.sample(context.expand(20_000, -1), gates)[:, 0].sort().values
            below = (densities(law, context, side, gate).cumsum(0) * step)[
                torch.searchsorted(side, drawn)
            ]
            even = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
            assert float((below - even).abs().max()) < 0.015  # Kolmogorov's test at 1e-4: .0156


def test_a_start_at_the_levels_needs_no_training() -> None:
    """Pixels that know two levels and no others cost the entropy of the two."""
    torch.manual_seed(0)
    cells = Cells(torch.tensor([-1.0, 1.0]), torch.tensor(0.01))
    white = torch.rand(4000, 3) < torch.tensor([0.0, 0.2, 0.5])
    z = torch.where(white, 1.0, -1.0) + 0.01 * (2 * torch.rand(4000, 3) - 1)
    law = MixtureLaw((3,), 2, components=2, width=4, convolved=True, levels=2).eval()
    law.start_at(z, cells)
    with torch.no_grad():
        found = law.log_prob(z, torch.zeros(4000, 2), torch.ones(4000)) + 3 * math.log(0.02)
    assert float(-found.mean()) == pytest.approx(0.5004 + 0.6931, abs=0.03)


def test_levels_are_for_convolved_pixels() -> None:
    assert frequent_levels(torch.tensor([[3.0, 0.0], [0.0, 7.0], [7.0, 0.0]]), 2).tolist() == [0, 7]
    with pytest.raises(ValueError, match="levels needs convolved"):
        ImageStage2.model_validate({"stage1": "s", "density": {"levels": 2}})
    # The pictures have four levels.
    density = {"convolved": True, "hidden": [8], "components": 2}
    for levels, refused in ((4, False), (5, True)):
        node = ImageStage2.model_validate({"stage1": "s", "density": density | {"levels": levels}})
        model = build_model(card("flow", density=node.density.model_dump()))
        if not refused:
            stage2.prepare(model, node, pictures(200), code())
            continue
        with pytest.raises(UserError, match="have 4 grey levels, fewer than 5; lower it"):
            stage2.prepare(model, node, pictures(200), code())
