"""A density that is closed at high noise and a flow below it."""

from __future__ import annotations

import math

import pytest
import torch
from image_models import card, code, pictures

from weir.flows import edm
from weir.metrics.distances import energy_distance
from weir.stages.restore import build_model
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.density.coarse_law import CoarseToFine
from weir.tasks.image.flow import stage2
from weir.tasks.image.flow.score_flow import ScoreFlow, log_prob_and_score
from weir.tasks.image.settings.models import ImageStage2

DENSITY = {
    "layers": 1,
    "hidden": [16],
    "components": 3,
    "embedding": 8,
    "coarse": {"above": 0.5, "components": 2, "rank": 3},
}


def prepared(count: int = 400) -> ScoreFlow:
    node = ImageStage2.model_validate({"stage1": "s", "density": DENSITY, "drop_class": 0.1})
    torch.manual_seed(0)
    model = build_model(card("flow", density=node.density.model_dump(), drop_class=0.1))
    stage2.prepare(model, node, pictures(count), code())
    assert isinstance(model, ScoreFlow)
    return model.eval()


def test_each_part_answers_for_its_noises() -> None:
    model = prepared()
    density = model.density
    assert isinstance(density, CoarseToFine)
    torch.manual_seed(1)
    u, label = torch.randn(6, 1, 4, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    sigma = torch.tensor([0.1, 0.49, 0.3, 0.5, 2.0, 80.0])
    log, score = log_prob_and_score(density, u, sigma, label)
    fine, fine_score = log_prob_and_score(density.fine, u[:3], sigma[:3], label[:3])
    torch.testing.assert_close(log[:3], fine)
    torch.testing.assert_close(score[:3], fine_score)
    # Tweedie: the score of the closed part is that of its own denoiser.
    total = (sigma.square() + SIGMA_DATA**2).sqrt()[:, None]
    x = u.flatten(1) * total
    clean = density.coarse.denoise(x, sigma, label)
    tweedie = (clean - x) / sigma[:, None].square() * total
    torch.testing.assert_close(score.flatten(1)[3:], tweedie[3:], rtol=1e-3, atol=1e-4)
    closed = density.coarse.log_prob(x, sigma, label) + 12 * total[:, 0].log()
    torch.testing.assert_close(log[3:], closed[3:])


def test_no_class_is_all_of_them_by_their_shares() -> None:
    coarse = prepared().density.coarse
    x, sigma = torch.randn(5, 12), torch.full((5,), 0.7)
    by_class = torch.stack([coarse.log_prob(x, sigma, torch.full((5,), c)) for c in (0, 1)], 1)
    expected = (by_class + torch.tensor([0.6, 0.4]).log()).logsumexp(1)
    torch.testing.assert_close(coarse.log_prob(x, sigma, torch.full((5,), 2)), expected)
    torch.testing.assert_close(coarse.log_prob(x, sigma), expected)


def test_draws_at_high_noise_are_those_of_the_noisy_data() -> None:
    model = prepared()
    label = torch.arange(2).repeat(300)
    sigma = torch.full((600,), 0.6)
    drawn = model.density.sample(sigma, label) * math.hypot(0.6, SIGMA_DATA)
    torch.manual_seed(2)
    data = pictures(600, seed=5)
    real = model.events(data.batch(torch.arange(600)))
    real = real + 0.6 * torch.randn_like(real)
    for each in (0, 1):
        found = energy_distance(
            drawn[label == each].flatten(1), real[data.label == each].flatten(1)
        )
        assert float(found) < 0.05


def test_the_flow_is_trained_below_the_closed_part_only() -> None:
    torch.manual_seed(0)
    sigma = edm.sample_sigma((20_000,), -1.2, 1.2, below=0.5)
    assert 0 < float(sigma.min()) < float(sigma.max()) < 0.5
    free = edm.sample_sigma((200_000,), -1.2, 1.2)
    expected = free[free < 0.5].log()
    assert float(sigma.log().mean()) == pytest.approx(float(expected.mean()), abs=0.02)
    assert float(sigma.log().std()) == pytest.approx(float(expected.std()), abs=0.02)


def test_a_saved_model_has_its_closed_part() -> None:
    model = prepared()
    again = build_model(
        card(
            "flow",
            density=ImageStage2.model_validate(
                {"stage1": "s", "density": DENSITY}
            ).density.model_dump(),
            drop_class=0.1,
        )
    )
    again.load_state_dict(model.state_dict())
    u, sigma, label = torch.randn(3, 1, 4, 3), torch.full((3,), 0.9), torch.tensor([0, 1, 2])
    expected = model.density.log_prob(u, sigma, label)
    torch.testing.assert_close(again.density.log_prob(u, sigma, label), expected)
