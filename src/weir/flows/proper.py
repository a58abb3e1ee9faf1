"""Proper scores of a batch of draws, differentiable: losses of generators.

Gneiting & Raftery 2007, "Strictly Proper Scoring Rules"; the fair estimators divide the pairwise
term by m (m - 1), which makes them unbiased for every m >= 2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fair_energy(draws: Tensor, truth: Tensor) -> Tensor:
    """Fair energy score of draws against truths, `[condition]`, in the events' units.

    `E|X - y| - E|X - X'| / 2` with the Euclidean norm over all event axes.

    Args:
        draws: `[condition, m, *event]`, m >= 2.
        truth: `[condition, k, *event]`; the score is averaged over the k truths.
    """
    x, y = draws.flatten(2), truth.flatten(2)
    count = _enough(x)
    accuracy = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").mean((1, 2))
    first, second = torch.triu_indices(count, count, 1, device=x.device)
    apart: Tensor = torch.linalg.vector_norm(x[:, first] - x[:, second], dim=-1).mean(1)
    return accuracy - apart / 2


def fair_crps(draws: Tensor, truth: Tensor) -> Tensor:
    """Fair CRPS of every coordinate, averaged over truths: `[condition, *event]`.

    Args:
        draws: `[condition, m, *event]`, m >= 2.
        truth: `[condition, k, *event]`.
    """
    count = _enough(draws)
    accuracy = torch.stack([(draws - one[:, None]).abs().mean(1) for one in truth.unbind(1)])
    ordered = draws.sort(1).values
    # Sum over pairs |x_i - x_j| (i < j) is the sum of (2 i - m + 1) x_(i) over order statistics.
    rank = torch.arange(count, device=draws.device, dtype=draws.dtype)
    weight = (2 * rank - count + 1) / (count * (count - 1))
    apart = (ordered * weight.reshape(1, -1, *(1,) * (draws.ndim - 2))).sum(1)
    return accuracy.mean(0) - apart


def _enough(draws: Tensor) -> int:
    if draws.shape[1] < 2:
        raise ValueError("a fair score needs at least two draws per condition")
    return draws.shape[1]
