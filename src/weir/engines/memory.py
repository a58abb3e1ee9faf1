"""Memory that a training on a CPU takes and frees in every step."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Options of glibc's `mallopt`."""


def keep_freed_memory() -> bool:
    """Have the C library keep large blocks that are freed, for the rest of this process.

    Otherwise glibc hands each back to the system, which clears its pages again for the next step;
    `benchmarks/kept_memory.py` says what that costs.

    Returns:
        whether the C library can be told so; only glibc can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    options = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return all(mallopt(option, value) == 1 for option, value in options)
