"""Use of latents in closed form, and when the watch gives alarm."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from weir.tasks.clinical.representation.collapse import CollapseWatch, latent_use


def laws(kind: str, items: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and log-variances of 3 latents: `collapsed`, `shifted` (the same law for every item,
    far from the prior), `told` (the first latent tells one of two classes)."""
    mean, log_variance = torch.zeros(items, 3), torch.zeros(items, 3)
    if kind == "shifted":
        mean += 2.0
    if kind == "told":
        mean[:, 0] = 4.0 * (torch.arange(items) % 2) - 2.0
        log_variance[:, 0] = math.log(1e-2)
    return mean, log_variance


def test_collapsed_latents_tell_nothing():
    use = latent_use(*laws("collapsed"))
    assert not use.active.any() and use.kl.sum() == 0
    assert use.mutual_information.abs() < 1e-6 and use.prior_gap.abs() < 1e-6


def test_divergence_alone_is_no_information():
    use = latent_use(*laws("shifted"))
    assert not use.active.any()
    torch.testing.assert_close(use.kl, torch.full((3,), 2.0))
    assert use.mutual_information < 1e-6
    torch.testing.assert_close(use.prior_gap, torch.tensor(6.0), rtol=1e-5, atol=0)


def test_one_bit():
    """Two classes told without error: log 2, of whatever divergence; the rest is the gap."""
    use = latent_use(*laws("told"))
    assert use.active.tolist() == [True, False, False]
    assert use.mutual_information.item() == pytest.approx(math.log(2), abs=1e-3)
    kl = 0.5 * (4 + 0.01 - 1 - math.log(0.01))
    assert use.kl[0].item() == pytest.approx(kl, rel=1e-5)
    assert use.prior_gap.item() == pytest.approx(kl - math.log(2), abs=1e-3)


def test_information_of_a_gaussian_channel():
    """z = x + noise: half the log of one plus the ratio of variances."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4000, 1, generator=generator)
    use = latent_use(mean, torch.full((4000, 1), math.log(0.25)), items=2000)
    assert use.mutual_information.item() == pytest.approx(0.5 * math.log(5), abs=0.05)


def test_information_is_capped_by_the_number_of_items():
    mean = 1000.0 * torch.arange(64)[:, None].float()
    use = latent_use(mean, torch.zeros(64, 1))
    assert use.mutual_information.item() == pytest.approx(math.log(64))


def test_active_is_the_variance_of_the_mean_not_of_the_posterior():
    mean = torch.tensor([[1.0, 0.2], [-1.0, 0.05]])
    use = latent_use(mean, torch.tensor([[-6.0, 4.0], [-6.0, 4.0]]))
    assert use.active.tolist() == [True, False]


def watch(**changes) -> CollapseWatch:
    settings = {
        "steps": 100, "every": 5, "sets": 64, "least_active": 0.1, "least_information": 0.5,
        "patience": 3, "grace": 0.2,
    }  # fmt: skip
    return CollapseWatch(**(settings | changes))


def follow(found: CollapseWatch, kinds: dict[int, str]) -> list[int]:
    """Steps of a training of 100 whose latents change at the steps given; where there is alarm."""
    alarms, kind = [], ""
    for step in range(100):
        kind = kinds.get(step, kind)
        if found.due(step / 100):
            before = found.seen()["collapsed"]
            found.look(*laws(kind, 64), torch.tensor(0.5), step / 100)
            if found.seen()["collapsed"] > before:
                alarms.append(step)
    return alarms


def test_alarm_comes_once_and_within_the_stated_steps(caplog):
    with caplog.at_level(logging.WARNING):
        assert follow(watch(), {0: "told", 51: "collapsed"}) == [65]
    assert len(caplog.records) == 1
    assert "65 % of the training" in caplog.text and "prior.beta" in caplog.text


def test_no_alarm_in_the_grace_or_for_a_moment(caplog):
    with caplog.at_level(logging.WARNING):
        assert follow(watch(), {0: "collapsed", 24: "told", 50: "shifted", 60: "told"}) == []
    assert not caplog.records


def test_values_are_held_between_looks():
    found = watch()
    assert found.due(0.0) and not found.due(0.01) and found.due(0.05)
    found.look(*laws("told", 64), torch.tensor(0.5), 0.0)
    seen = found.seen()
    assert set(seen) == set(CollapseWatch.NAMES)
    assert seen["active_units"].item() == pytest.approx(1 / 3)
    assert seen["reconstruction_gain"] == 0.5 and seen["collapsed"] == 0
    found.look(*laws("collapsed", 1), torch.tensor(9.0), 0.5)
    assert found.seen()["reconstruction_gain"] == 0.5, "one item tells nothing"


def test_state_is_in_the_buffers(caplog):
    """A watch that takes over neither forgets what was seen nor warns again."""
    first = watch()
    follow(first, {0: "collapsed"})
    caplog.clear()
    second = watch()
    second.load_state_dict(first.state_dict())
    second.look(*laws("collapsed", 64), torch.tensor(0.0), 0.9)
    assert not caplog.records and second.seen()["collapsed"] == 1
