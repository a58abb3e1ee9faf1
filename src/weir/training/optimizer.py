"""AdamW over an objective's parameter groups."""

from __future__ import annotations

from typing import Any

import torch

from weir.config.training import Training
from weir.training.objective import Objective

_KNOWN = {"params", "lr_scale", "weight_decay"}


def build_optimizer(objective: Objective, settings: Training) -> torch.optim.AdamW:
    """AdamW whose groups carry `lr_scale`; weight decay falls on matrices only (`ndim >= 2`).

    Gains and biases are few and set scales, so that decaying them only hurts; a group may
    choose its own decay of matrices.

    The update is the fused kernel: besides being fast it can be told on the device, without a
    wait, to leave the weights alone (see `loop`). fp16 needs the unfused one, since only there
    can gradients be unscaled before they are clipped.

    Raises:
        ValueError: a group has unknown keys, or a trainable parameter is in no group.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    listed: set[int] = set()
    for group in objective.parameter_groups():
        unknown = sorted(set(group) - _KNOWN)
        if unknown:
            known = ", ".join(sorted(_KNOWN))
            raise ValueError(f"parameter group with unknown keys {unknown}; known: {known}")
        parameters = [p for p in group["params"] if p.requires_grad]
        listed.update(id(p) for p in parameters)
        decay = group.get("weight_decay", settings.weight_decay)
        for members, weight_decay in (
            ([p for p in parameters if p.ndim >= 2], decay),
            ([p for p in parameters if p.ndim < 2], 0.0),
        ):
            if members:
                # Groups alike are one, since each costs its own kernels.
                alike = {"lr_scale": group.get("lr_scale", 1.0), "weight_decay": weight_decay}
                merged = groups.setdefault(tuple(alike.values()), {"params": [], **alike})
                merged["params"] += members
    trainable = {n: p for n, p in objective.named_parameters() if p.requires_grad}
    forgotten = [name for name, p in trainable.items() if id(p) not in listed]
    if forgotten:
        raise ValueError(f"trainable parameters in no group: {', '.join(forgotten)}")
    if not groups:
        raise ValueError("the objective has no trainable parameter")
    return torch.optim.AdamW(
        list(groups.values()),
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=settings.precision != "fp16",
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group its share of `learning_rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_scale"]
