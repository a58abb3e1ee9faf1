"""Handing out cells evenly."""

from __future__ import annotations

import torch
from torch import Tensor


def deal(of: int, count: int, generator: torch.Generator | None) -> Tensor:
    """`[count]` items below `of` in random order, each as often as any other, give or take one."""
    device = "cpu" if generator is None else generator.device
    rounds = -(-count // of)
    order = [torch.randperm(of, generator=generator, device=device) for _ in range(rounds)]
    return torch.cat(order)[:count]
