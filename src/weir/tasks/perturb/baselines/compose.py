"""An unseen dose or combination as a weighted sum of seen conditions."""

from __future__ import annotations

import torch
from torch import Tensor


def compose(target: Tensor, seen: Tensor) -> Tensor:
    """Weights of the seen conditions whose effects, so added, make up the target.

    * A seen condition is itself.
    * A dose of one perturbation lies between its nearest seen doses, linearly in the logarithm of
      the dose; beyond the largest it is that one, below the smallest proportional to the dose.
    * A combination is the sum of its perturbations.
    * A perturbation that was seen only in combinations is their mean, at the nearest dose; one
      that was never seen is the mean of all conditions.

    Args:
        target: `[perturbation]`, doses.
        seen: `[condition, perturbation]`, doses of at least one condition, none all zero.

    Returns:
        `[condition]`, single precision; all zero for a target without a perturbation.
    """
    weights = torch.zeros(len(seen), device=seen.device)
    same = (seen == target).all(dim=1)
    if same.any():
        weights[same.nonzero()[0, 0]] = 1.0
        return weights
    for perturbation in target.nonzero()[:, 0].tolist():
        weights += _single(perturbation, float(target[perturbation]), seen)
    return weights


def _single(perturbation: int, dose: float, seen: Tensor) -> Tensor:
    """Weights for one dose of one perturbation."""
    weights = torch.zeros(len(seen), device=seen.device)
    has = seen[:, perturbation] > 0
    alone = has & ((seen > 0).sum(dim=1) == 1)
    if not has.any():
        return torch.full_like(weights, 1 / len(seen))
    rows = (alone if alone.any() else has).nonzero()[:, 0]
    doses = seen[rows, perturbation].double()
    if not alone.any():
        distance = (doses.log() - torch.tensor(dose).double().log()).abs()
        nearest = rows[distance <= distance.min() + 1e-9]
        weights[nearest] = 1 / len(nearest)
        return weights
    order = doses.argsort()
    rows, doses = rows[order], doses[order]
    above = int((doses < dose).sum())
    if above == 0:
        weights[rows[0]] = dose / float(doses[0])
    elif above == len(rows):
        weights[rows[-1]] = 1.0
    else:
        low, high = doses[above - 1].log(), doses[above].log()
        share = float((torch.tensor(dose).double().log() - low) / (high - low))
        weights[rows[above - 1]], weights[rows[above]] = 1 - share, share
    return weights


def distinct(target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each different row `[perturbation]` of the targets, and the items `[n]` that have it."""
    rows, which = target.unique(dim=0, return_inverse=True)
    return [(row, (which == k).nonzero()[:, 0]) for k, row in enumerate(rows)]
