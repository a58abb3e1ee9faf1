"""Log-normalised expression, the scale on which cells are compared."""

from __future__ import annotations

from torch import Tensor


def log_normalise(counts: Tensor, library: Tensor, scale: float) -> Tensor:
    """`log1p(counts / library * scale)`.

    Args:
        counts: `[..., gene]`, counts or their means.
        library: `[...]`, totals of the cells.
        scale: the library that all cells are brought to.

    Returns:
        `[..., gene]`; a cell without any count has no expression (zeros, not NaN).
    """
    factor = scale / library.clamp(min=1e-12)
    return (counts * factor[..., None]).log1p()
