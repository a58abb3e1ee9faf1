"""Proper scores of ensembles: fair estimators, so that the number of members does not matter.

Every score is smaller for a better forecast, and its expectation over members drawn from a law is
the score of that law itself (Ferro 2014, "Fair scores for ensemble forecasts").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weir.metrics.ensembles import QuantileType, order, quantiles

VENTILES = tuple(n / 20 for n in range(1, 20))
"""Levels .05, .10, ... .95."""


def crps(samples: Tensor, truth: Tensor, *, ordered: bool = False) -> Tensor:
    """Fair continuous ranked probability score `E|X - y| - E|X - X'| / 2`.

    Sorting turns the m^2 differences into a weighted sum over ranks, O(m log m).

    Args:
        samples: `[..., member]`, at least two members.
        truth: `[...]`.
        ordered: whether the members are in ascending order already.

    Returns:
        `[...]`, in the unit of the truth.
    """
    members = _members(samples.shape[-1])
    # Relative to the truth, rounding errors scale with the spread instead of with the level.
    errors = (samples if ordered else order(samples)) - truth[..., None]
    rank = torch.arange(1, members + 1, dtype=errors.dtype, device=errors.device)
    half_gini = errors @ ((2 * rank - members - 1) / (members * (members - 1)))
    return errors.abs_().mean(dim=-1) - half_gini


def energy_score(samples: Tensor, truth: Tensor, *, chunk: int = 256) -> Tensor:
    """Fair energy score `E|X - y| - E|X - X'| / 2` with Euclidean norms.

    Pairwise distances come from Gram matrices of the members about their mean, so that rounding
    (about 1e-3 of the spread between two equal members, 1e-6 between distinct ones in float32)
    is relative to the spread. Gneiting & Raftery 2007, section 4.3.

    Args:
        samples: `[..., member, dimension]`, at least two members.
        truth: `[..., dimension]`.
        chunk: forecasts whose Gram matrices are held at once.

    Returns:
        `[...]`, in the unit of the truth.
    """
    members = _members(samples.shape[-2])
    shape = truth.shape[:-1]
    samples, truth = samples.reshape(-1, *samples.shape[-2:]), truth.reshape(-1, truth.shape[-1])
    scores = []
    for some, y in zip(samples.split(chunk), truth.split(chunk), strict=True):
        centred = some - some.mean(dim=1, keepdim=True)
        gram = centred @ centred.mT
        norms = gram.diagonal(dim1=1, dim2=2).clone()
        squares = gram.mul_(-2).add_(norms[:, :, None]).add_(norms[:, None, :])
        between = squares.clamp_(min=0).sqrt_().sum(dim=(1, 2)) / (members * (members - 1))
        scores.append((some - y[:, None]).norm(dim=-1).mean(dim=-1) - between / 2)
    return torch.cat(scores).reshape(shape)


def variogram_score(
    samples: Tensor,
    truth: Tensor,
    *,
    pairs: Tensor | None = None,
    weights: Tensor | None = None,
    exponent: float = 0.5,
    fair: bool = True,
) -> Tensor:
    """Variogram score: how well differences between coordinates are forecast.

    `(E|X_i - X_j|^p - |y_i - y_j|^p)^2`, averaged over pairs of coordinates. It sees wrong
    correlations that the energy score hardly does. Scheuerer & Hamill 2015.

    Args:
        samples: `[..., member, dimension]`.
        truth: `[..., dimension]`.
        pairs: `[2, pair]` int64, the coordinates compared; None takes all i < j.
        weights: `[pair]`, at least 0, of the average over pairs; None weighs all alike.
        exponent: p, above 0.
        fair: subtract the variance of the members' mean, which would reward many members.

    Returns:
        `[...]`, in the unit of the truth to the power 2 p.
    """
    dimension = truth.shape[-1]
    if pairs is None:
        pairs = torch.triu_indices(dimension, dimension, 1, device=truth.device)
    members = _members(samples.shape[-2]) if fair else samples.shape[-2]
    shape = truth.shape[:-1]
    # Coordinates first: picking pairs then copies whole rows, and members are summed in place.
    columns = samples.reshape(-1, members, dimension).permute(2, 0, 1).contiguous()
    observed = truth.reshape(-1, dimension).mT
    weights = (
        torch.ones_like(observed[:1, 0]).expand(pairs.shape[1]) if weights is None else weights
    )
    total = observed.new_zeros(observed.shape[1])
    step = max(1, _CACHE // columns[0].numel())
    for (i, j), weight in zip(
        zip(pairs[0].split(step), pairs[1].split(step), strict=True),
        weights.split(step),
        strict=True,
    ):
        size = columns[i].sub_(columns[j]).abs_()
        powers = size.sqrt() if exponent == 0.5 else size**exponent
        expected = powers.mean(dim=-1)
        squares = (expected - (observed[i] - observed[j]).abs() ** exponent) ** 2
        if fair:
            second = size.mean(dim=-1) if exponent == 0.5 else (powers**2).mean(dim=-1)
            squares = squares - (second - expected**2) / (members - 1)
        total += weight @ squares
    return (total / weights.sum()).reshape(shape)


def quantile_loss(
    ordered: Tensor,
    truth: Tensor,
    levels: Sequence[float] = VENTILES,
    kind: QuantileType = "linear",
) -> Tensor:
    """Twice the pinball loss of each quantile; its mean over levels approximates the CRPS.

    Args:
        ordered: `[..., member]`, ascending.
        truth: `[...]`.
        levels: probabilities of the quantiles.
        kind: see `quantiles`; NumPy's default is what published figures use.

    Returns:
        `[..., level]`, in the unit of the truth.
    """
    error = truth[..., None] - quantiles(ordered, levels, kind)
    level = torch.tensor(levels, dtype=error.dtype, device=error.device)
    return 2 * torch.maximum(level * error, (level - 1) * error)


def weighted_quantile_loss(
    samples: Tensor, truth: Tensor, levels: Sequence[float] = VENTILES
) -> Tensor:
    """What ProbTS and GluonTS call CRPS: mean quantile loss over levels / sum of |truth|.

    Args:
        samples: `[..., member]` on the raw scale.
        truth: `[...]`.
        levels: probabilities of the quantiles.

    Returns:
        scalar without unit.
    """
    loss = quantile_loss(order(samples), truth, levels).mean(dim=-1)
    return loss.sum(dtype=torch.float64) / truth.abs().sum(dtype=torch.float64)


_CACHE = 2**18
"""Values worked on at once, so that they stay in a core's cache."""


def _members(members: int) -> int:
    if members < 2:
        raise ValueError(f"a fair score needs at least two members, got {members}")
    return members
