"""The moving average of weights."""

from __future__ import annotations

import torch
from torch import nn

from weir.training.optimizer import MovingAverage


def test_closed_form() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -1.0]))
    average = MovingAverage({"w": weight}, decay=0.2)
    walk = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    decays = [1 / 10, 2 / 11, 0.2, 0.2, 0.2]
    for step, values in enumerate(walk):
        with torch.no_grad():
            weight.copy_(values)
        average.update(step)
    # Unrolled: the value of step t keeps (1 - d_t) times all decays after it.
    expected = torch.tensor([1.0, -1.0]) * torch.tensor(decays).prod()
    for step, values in enumerate(walk):
        expected = expected + values * (1 - decays[step]) * torch.tensor(decays[step + 1 :]).prod()
    torch.testing.assert_close(average.averages["w"], expected)


def test_applied_inside_only_and_bit_for_bit() -> None:
    weight = nn.Parameter(torch.randn(5))
    own = weight.detach().clone()
    average = MovingAverage({"w": weight}, decay=0.9)
    average.averages["w"].fill_(2.0)
    with average.applied():
        assert torch.equal(weight, torch.full((5,), 2.0))
    assert torch.equal(weight, own)
