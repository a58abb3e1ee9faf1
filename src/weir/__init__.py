"""Weir: a reproducible pipeline for two-stage generative models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__version__ = "0.1.0"


def load(path: Path | str) -> nn.Module:
    """A trained model from its folder, ready to sample; params.yaml is not needed.

    Args:
        path: a model folder, such as `results/distill/etth1-onestep-s0`.

    Raises:
        weir.errors.UserError: no model folder, or a damaged one.
    """
    from weir.stages.restore import restore

    return restore(Path(path))
