"""Mean losses and scores over a validation set, under draws that are the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from weir.training.objective import DataSet, Objective
from weir.training.order import mix, seed_draws
from weir.training.stepper import NonFinite, listing

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_DRAWS = 0x7A11DA7E
"""Sets the draws of validation apart from those of the training steps."""


class Abandoned(Exception):
    """A validation was given up, because the training shall stop; it is repeated on resuming."""


@torch.no_grad()
def validate(
    objective: Objective,
    data: DataSet,
    batch_size: int,
    seed: int,
    fabric: Fabric,
    stopping: Callable[[], bool],
) -> dict[str, float]:
    """Mean of every loss over all items, each item counted once, and the objective's scores.

    Batch `i` is computed under draws seeded by `(seed, i)`, on process `i % processes`: neither
    the step nor the number of processes changes them.

    Args:
        objective: in evaluation mode, called as `objective(batch, 1.0)`.
        data: on the device.
        batch_size: items per call.
        seed: of the training.
        fabric: for arithmetic and, with several processes, their sum.
        stopping: asked between batches whether to give up; answers the same in all processes.

    Raises:
        Abandoned: when `stopping()`.
        NonFinite: a loss or prediction is NaN or infinite; names the items.
    """
    starts = range(0, len(data), batch_size)
    rows: list[Any] = [None] * len(starts)
    names: list[str] = []
    predicted: dict[str, Tensor] = {}
    for first in range(0, len(starts), fabric.world_size):
        if stopping():
            raise Abandoned
        number = first + fabric.global_rank
        if number >= len(starts):
            break
        items = torch.arange(starts[number], min(starts[number] + batch_size, len(data)))
        seed_draws(mix(seed, _DRAWS, number), fabric.device)
        with fabric.autocast():
            losses = objective(data.batch(items.to(fabric.device)), 1.0)
        names = [name for name, value in losses.items() if not value.ndim]
        rows[number] = torch.stack([losses.pop(name).float() for name in names])
        for name, values in losses.items():
            everyone = predicted.setdefault(name, torch.zeros(len(data), device=fabric.device))
            everyone[items[0] : items[-1] + 1] = values
    if fabric.world_size > 1:
        names, kinds = fabric.broadcast((names, list(predicted)))
        for name in kinds:
            # A process without a batch adds nothing; sums are made in place.
            own = predicted.get(name, torch.zeros(len(data), device=fabric.device))
            predicted[name] = cast(Tensor, fabric.all_reduce(own, reduce_op="sum"))
    blank = torch.zeros(len(names), device=fabric.device)
    table = torch.stack([blank if row is None else row for row in rows])
    if fabric.world_size > 1:
        table = cast(Tensor, fabric.all_reduce(table, reduce_op="sum"))
    sums = [0.0] * len(names)
    for number, row in enumerate(table.tolist()):
        count = min(batch_size, len(data) - starts[number])
        if not all(math.isfinite(value) for value in row):
            bad = [name for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
            first = starts[number]
            raise NonFinite(
                f"validation losses {listing(bad)} are not finite on items {first} to "
                f"{first + count - 1}"
            )
        sums = [total + value * count for total, value in zip(sums, row, strict=True)]
    for name, values in predicted.items():
        odd = (~values.isfinite()).nonzero()[:, 0].tolist()
        if odd:
            raise NonFinite(f"validation predictions {name} are not finite on items {listing(odd)}")
    means = {name: total / len(data) for name, total in zip(names, sums, strict=True)}
    return means | objective.scores({name: value.cpu() for name, value in predicted.items()})
