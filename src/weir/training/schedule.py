"""Learning rate over the steps: linear warm-up, then half a cosine."""

from __future__ import annotations

import math


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
