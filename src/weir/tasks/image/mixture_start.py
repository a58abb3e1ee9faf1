"""Where a `MixtureLaw` begins: the mixture that each coordinate follows by itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Cells(NamedTuple):
    """Grey levels that have a component of their own, in the unit of the coordinates.

    Attributes:
        middle: `[level]`, of their cells.
        half: `[]`, half of a cell's width.
    """

    middle: Tensor
    half: Tensor

    def holding(self, z: Tensor) -> Tensor:
        """Which cell each value lies in, `[..., level]` bool."""
        return (z[..., None] - self.middle).abs() <= self.half


def frequent_levels(raw: Tensor, count: int) -> Tensor:
    """The `count` most frequent levels of items' pixels, ascending; fewer if there are fewer."""
    level, times = raw.flatten().unique(return_counts=True)
    return level[times.argsort(descending=True, stable=True)[:count]].sort().values


def marginal_mixtures(
    z: Tensor,
    components: int,
    *,
    counted: Tensor | None = None,
    steps: int = 30,
    floor: float = 1e-3,
    wide: float = 0.02,
) -> tuple[Tensor, Tensor, Tensor]:
    """A mixture of Gaussians fitted to each coordinate alone by EM.

    The last component is as wide as all coordinates together and keeps a share of its own, for
    values that a coordinate has never shown.

    Args:
        z: `[item, coordinate]`, more items than components.
        components: of each mixture, two at least; they begin at quantiles.
        counted: `[item, coordinate]` bool, values to be described; None for all. Where a
            coordinate has none, its components begin as those of all coordinates together.
        steps: of EM.
        floor: least deviation.
        wide: share of the wide component.

    Returns:
        weights, means and log deviations, `[coordinate, component]`.
    """
    narrow = components - 1
    counted = torch.ones_like(z, dtype=torch.bool) if counted is None else counted
    some = z[counted] if bool(counted.any()) else z.flatten()
    rank = (torch.arange(narrow, dtype=z.dtype, device=z.device) + 0.5) / narrow
    pooled = some.sort().values[(rank * len(some)).long()]
    # What is not counted is sorted behind the rest.
    ordered = z.masked_fill(~counted, torch.inf).sort(dim=0).values
    each = counted.sum(0)
    at = (rank * each[:, None]).long()
    mean = torch.where(each[:, None] > 0, ordered.T.gather(1, at), pooled)
    own = counted.to(z.dtype)[..., None]
    scale = (some.std() / narrow).clamp(min=floor).expand_as(mean)
    weight = torch.full_like(mean, 1 / narrow)
    for _ in range(steps):
        off = z[..., None] - mean
        share = own * (weight.log() - scale.log() - 0.5 * (off / scale).square()).softmax(-1)
        mass = share.sum(0)
        seen = mass > 1e-6
        mass = mass.clamp(min=1e-6)
        mean = torch.where(seen, (share * z[..., None]).sum(0) / mass, mean)
        found = ((share * (z[..., None] - mean).square()).sum(0) / mass).sqrt().clamp(min=floor)
        scale = torch.where(seen, found, scale)
        weight = (mass / mass.sum(-1, keepdim=True)).clamp(min=1e-3)
    apart = torch.ones_like(mean[:, :1])
    return (
        torch.cat([weight * (1 - wide), wide * apart], 1),
        torch.cat([mean, z.mean() * apart], 1),
        torch.cat([scale, z.std() * apart], 1).log(),
    )
