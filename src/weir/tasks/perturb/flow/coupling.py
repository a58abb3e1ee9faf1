"""Pairs of control and perturbed cells: optimal transport inside groups that may be compared.

Cells are measured once, before or after, so that pairs must be inferred. Within a matched context,
the coupling of least squared distance is the map of least change (Tong et al. 2024, "Improving
and generalizing flow-based generative models with minibatch optimal transport"; Bunne et al. 2023,
"Learning single-cell perturbation responses using neural optimal transport").
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

CouplingName = Literal["optimal", "random"]


def assign(cost: Tensor) -> Tensor:
    """Column of each row in the one-to-one assignment of least cost.

    Args:
        cost: `[row, column]`, at least as many columns as rows, any device.

    Returns:
        `[row]` int64 on the device of `cost`; every column at most once.
    """
    if cost.shape[0] > cost.shape[1]:
        raise ValueError(f"{cost.shape[0]} rows cannot have a column each of {cost.shape[1]}")
    _, columns = linear_sum_assignment(cost.detach().double().cpu().numpy())
    return torch.from_numpy(columns).to(cost.device)


def draw_evenly(pool: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` numbers below `pool`, each as often as every other, or once more or less."""
    whole, rest = divmod(count, pool)
    parts = [np.arange(pool)] * whole + [random.permutation(pool)[:rest]]
    return np.concatenate(parts)


def couple(
    source: Tensor,
    target: Tensor,
    *,
    method: CouplingName = "optimal",
    rounds: int = 1,
    size: int = 1024,
    seed: int = 0,
) -> Tensor:
    """For each target, `rounds` sources that it may have come from.

    The two sides differ in number. In each round every source is used equally often, up to one
    more or less, by a fresh random choice of which; so both marginals are kept, and in many
    rounds no source is favoured for lying close. With equal numbers it is the exact transport.

    Args:
        source: `[source, event]`, at least one.
        target: `[target, event]`.
        method: `optimal`: least squared distance; `random`: no transport, as an ablation.
        rounds: draws of the coupling.
        size: most targets that are coupled at once; larger groups are cut at random.
        seed: of the choices.

    Returns:
        `[target, round]` int64 numbers of sources, on the device of `target`.

    Raises:
        ValueError: no source, or an unknown method.
    """
    if method not in ("optimal", "random"):
        raise ValueError(f"unknown coupling {method!r}; known: optimal, random")
    if not len(source):
        raise ValueError("targets without a source cannot be coupled")
    random = np.random.default_rng(seed)
    found = torch.empty(len(target), rounds, dtype=torch.int64)
    for column in range(rounds):
        chosen = draw_evenly(len(source), len(target), random)
        pairs = zip(
            _parts(random.permutation(len(target)), size),
            _parts(random.permutation(chosen), size),
            strict=True,
        )
        for rows, pool in pairs:
            if method == "optimal":
                near, far = target[rows].double(), source[pool].double()
                pool = pool[assign(torch.cdist(near, far).square()).cpu().numpy()]
            found[rows, column] = torch.from_numpy(pool)
    return found.to(target.device)


def beside_niche(latent: Tensor, niche: Tensor) -> Tensor:
    """Latents with their places as further coordinates, `[cell, event + niche]`.

    A response that differs from place to place can be told from the differences between cells
    only if partners come from like places (Chemseddine et al. 2024, "Conditional Wasserstein
    distances"; Kerrigan et al. 2024, "Dynamic conditional optimal transport"). Features of the
    niche that vary are standardised, and count as much as the latents do together.

    Args:
        latent: `[cell, event]`.
        niche: `[cell, niche]`.
    """
    if not niche.shape[1]:
        return latent
    deviation = niche.std(0, correction=0)
    varies = deviation > 1e-6
    if not varies.any():
        return latent
    place = niche[:, varies] / deviation[varies]
    total = latent.var(0, correction=0).sum()
    return torch.cat([latent, place * (total / place.shape[1]).sqrt()], 1)


def _parts(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    return np.array_split(numbers, max(1, -(-len(numbers) // size)))


def couple_groups(
    latent: Tensor,
    context: Tensor,
    condition: Tensor,
    *,
    method: CouplingName = "optimal",
    rounds: int = 1,
    size: int = 1024,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Couple every perturbed cell with control cells of its own context.

    Args:
        latent: `[cell, event]`.
        context: `[cell]` int64; cells of equal number may be compared.
        condition: `[cell]` int64; 0 for control.
        method: see `couple`.
        rounds: see `couple`.
        size: see `couple`.
        seed: see `couple`.

    Returns:
        Perturbed cells that have a control in their context, `[pair]` int64 in rising order, and
        their controls `[pair, round]`, both as numbers of cells.
    """
    targets, sources = [], []
    control = condition == 0
    for place in context.unique().tolist():
        here = context == place
        pool = (here & control).nonzero()[:, 0]
        if not len(pool):
            continue
        for kind in condition[here & ~control].unique().tolist():
            cells = (here & (condition == kind)).nonzero()[:, 0]
            found = couple(
                latent[pool], latent[cells], method=method, rounds=rounds, size=size, seed=seed
            )
            targets.append(cells)
            sources.append(pool[found])
    if not targets:
        return condition.new_empty(0), condition.new_empty(0, rounds)
    cells = torch.cat(targets)
    order = cells.argsort()
    return cells[order], torch.cat(sources)[order]
