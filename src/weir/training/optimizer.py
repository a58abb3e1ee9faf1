"""AdamW over an objective's parameter groups, its learning rate, and averaged weights.

The rate warms up linearly and then falls along half a cosine. The average of the trainable weights
is an exponential moving one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from weir.settings.training import Training
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


def learning_rate_factor(step: int, steps: int, warmup: float, final: float) -> float:
    """Share of the peak learning rate at step `step`, counted from 0.

    With `w = ceil(warmup * steps)` it rises as `(step + 1) / w` to 1 at step `w - 1`, then falls
    as a half cosine from 1 at step `w` to exactly `final` at the last step.

    Args:
        step: 0 to `steps - 1`.
        steps: length of the training.
        warmup: share of the steps of the rise, 0 to 1.
        final: share of the peak at the last step, 0 to 1.

    Reference: Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """
    rise = math.ceil(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    fall = steps - 1 - rise
    if fall <= 0:
        return 1.0
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / fall))


class MovingAverage:
    """Averages `a` of parameters `w`: after step t (from 0) `a <- d_t * a + (1 - d_t) * w`.

    `d_t = min(decay, (1 + t) / (10 + t))`: a short training would otherwise end with a good
    part of its random initialisation in the average (13 % after 2,000 steps at 0.999).

    Reference: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Args:
        parameters: name to parameter; the averages start at their values.
        decay: upper limit of `d_t`, 0 to 1.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._parameters: list[Tensor] = list(parameters.values())
        self.averages = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averages.values()), self._parameters, 1.0 - decay)

    @torch.no_grad()
    def load(self, averages: dict[str, Tensor]) -> None:
        """Overwrite the averages in place."""
        for name, average in self.averages.items():
            average.copy_(averages[name])

    @torch.no_grad()
    def apply(self) -> None:
        """Overwrite the parameters with their averages."""
        torch._foreach_copy_(self._parameters, list(self.averages.values()))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters hold the averages; afterwards their own values, bit for bit."""
        with torch.no_grad():
            own = [p.detach().clone() for p in self._parameters]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, own)
