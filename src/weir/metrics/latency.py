"""Time that a model takes, measured once its device has finished."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def clock(device: torch.device) -> float:
    """Seconds, once the device has finished what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def latency_ms(
    call: Callable[[], object], device: torch.device, calls: int = 5, seconds: float = 2.0
) -> float:
    """Milliseconds of a call, median of a few.

    Args:
        call: what is measured.
        device: that it computes on.
        calls: most calls.
        seconds: after which there is no further one.
    """
    times: list[float] = []
    while len(times) < calls and sum(times) < seconds:
        begun = clock(device)
        call()
        times.append(clock(device) - begun)
    return 1000 * sorted(times)[len(times) // 2]
