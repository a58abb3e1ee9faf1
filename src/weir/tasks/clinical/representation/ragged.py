"""Sets and sequences of different lengths, packed: a network is applied to those of one length
together, so that nothing is padded.

Lengths of sequences hardly ever agree, so for these lengths within a ratio are taken together and
the difference is masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Apply = Callable[[Tensor, Tensor | None], Tensor]
"""From tokens `[group, place, width]` and their mask `[group, place]` (True for tokens, None where
all are) to `[group, place, out]`."""


def places(owner: Tensor, owners: int) -> tuple[Tensor, Tensor]:
    """Place of each item among its owner's `[item]`, and number of items `[owner]`, both int64.

    Args:
        owner: `[item]` int64, ascending.
        owners: how many there are; some may have no item.
    """
    count = torch.zeros(owners, dtype=torch.int64, device=owner.device)
    count.index_add_(0, owner, torch.ones_like(owner))
    first = count.cumsum(0) - count
    place = torch.arange(len(owner), device=owner.device) - first.index_select(0, owner)
    return place, count


def apply_by_group(
    tokens: Tensor, owner: Tensor, owners: int, apply: Apply, *, slack: float = 1.0
) -> Tensor:
    """Apply a network to the items of each owner, `[item, out]`.

    Args:
        tokens: `[item, width]`.
        owner: `[item]` int64, ascending.
        owners: how many there are; those without items cost nothing.
        apply: the network; what it returns for padding is left out.
        slack: ratio of numbers of items that are padded to one another; 1 pads none.
    """
    if not len(tokens):
        return apply(tokens[None], None)[0]
    place, count = places(owner, owners)
    exact = slack == 1
    bucket = count if exact else _bucket(count, slack)
    order = bucket.index_select(0, owner).argsort(stable=True)
    sizes = bucket[count > 0].unique().tolist()
    members = [int((count * (bucket == size)).sum()) for size in sizes]
    # Sorted once and split: each group's own gathering would cost a whole batch going back.
    tokens, owner, place = (x.index_select(0, order) for x in (tokens, owner, place))
    pieces = zip(*(x.split(members) for x in (tokens, owner, place)), strict=True)
    parts = []
    for size, (own, whose, where) in zip(sizes, pieces, strict=True):
        if exact:
            parts.append(apply(own.unflatten(0, (-1, size)), None).flatten(0, 1))
        else:
            parts.append(_padded(own, whose, where, bucket == size, apply))
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return torch.cat(parts).index_select(0, back)


def _bucket(count: Tensor, slack: float) -> Tensor:
    """A number for each class of counts: 1 for those within `slack` of the largest; 0 for none."""
    shortfall = (count.max() / count.clamp(min=1)).double().log() / math.log(slack)
    return torch.where(count > 0, 1 + shortfall.long(), 0)


def _padded(tokens: Tensor, owner: Tensor, place: Tensor, taken: Tensor, apply: Apply) -> Tensor:
    """Items of the owners `taken` (a mask `[owner]`), padded to the longest."""
    row = (taken.cumsum(0) - 1).index_select(0, owner)
    rows, longest = int(row[-1]) + 1, int(place.max()) + 1
    slot = row * longest + place
    room = tokens.new_zeros(rows * longest, tokens.shape[-1])
    # Written once each, so that the order of the sums does not matter.
    room = room.index_copy(0, slot, tokens)
    mask = torch.zeros(rows * longest, dtype=torch.bool, device=tokens.device)
    mask[slot] = True
    out = apply(room.unflatten(0, (rows, longest)), mask.unflatten(0, (rows, longest)))
    return out.flatten(0, 1).index_select(0, slot)


def segment_softmax(score: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Weights `[item, ...]` that add up to one over the items of each owner.

    Scores are bent so that they stay within +-15, which spares looking for the largest.
    """
    # Sums of many need more digits than half precision has.
    score = score.to(torch.promote_types(score.dtype, torch.float32))
    mass = (15 * (score / 15).tanh()).exp()
    return mass / segment_sum(mass, owner, owners).index_select(0, owner)


def segment_sum(values: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Sums over the items of each owner, `[owner, ...]`; 0 for those without."""
    return values.new_zeros(owners, *values.shape[1:]).index_add(0, owner, values)
