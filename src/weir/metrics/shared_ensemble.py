"""Fair scores of one ensemble against many truths of one law: they share their members.

The same numbers as those of `scores`, without a copy of the members for every truth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weir.metrics.pairwise import mean_over_pairs


def energy_score(samples: Tensor, truths: Tensor) -> float:
    """Mean fair energy score `E|X - y| - E|X - X'| / 2` over the truths, Euclidean norm.

    Args:
        samples: `[member, dimension]`, at least two.
        truths: `[truth, dimension]`.
    """
    error = mean_over_pairs(torch.sqrt, truths, samples)
    return float(error - mean_over_pairs(torch.sqrt, samples) / 2)


def crps(samples: Tensor, truths: Tensor) -> Tensor:
    """Mean fair CRPS of each coordinate over the truths, `[dimension]` float64.

    With the members in order and their running sums, a truth needs only its place among them.

    Args:
        samples: `[member, dimension]`, at least two.
        truths: `[truth, dimension]`.

    Raises:
        ValueError: fewer than two members.
    """
    members = len(samples)
    if members < 2:
        raise ValueError(f"a fair score needs at least two members, got {members}")
    ordered = samples.mT.double().contiguous().sort(dim=1).values
    values = truths.mT.double().contiguous()
    below = torch.searchsorted(ordered, values)
    sums = torch.nn.functional.pad(ordered.cumsum(dim=1), (1, 0))
    left = sums.gather(1, below)
    errors = values * (2 * below - members) + sums[:, -1:] - 2 * left
    rank = torch.arange(1, members + 1, dtype=torch.float64, device=samples.device)
    half_gini = ordered @ ((2 * rank - members - 1) / (members * (members - 1)))
    return errors.mean(dim=1) / members - half_gini
