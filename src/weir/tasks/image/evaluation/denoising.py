"""Denoising scores: the error of a model's guess of pictures under noise, given their class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from weir.errors import WeirError
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.evaluation.samples import HeldOut

if TYPE_CHECKING:
    from weir.tasks.image.flow.image_flow import ImageModel

_TOGETHER = 2**19
"""Values of pictures that are denoised together."""


def denoises_pixels(model: ImageModel) -> bool:
    """Whether the model denoises pictures, not latents."""
    return model.has_denoiser and (model.code is None or model.code.log_volume is not None)


def noisy(clean: Tensor, sigma: float, seed: int) -> Tensor:
    """Events with noise of deviation `sigma`, the same on every device."""
    white = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return clean + sigma * white.to(clean.device)


def denoised(model: ImageModel, event: Tensor, sigma: float, label: Tensor) -> Tensor:
    """The model's answer to noisy events `[item, *shape]`, in parts.

    Raises:
        WeirError: it is NaN or infinite.
    """
    rows = max(1, _TOGETHER // event[0].numel())
    found = torch.cat(
        [
            model.denoise(part, torch.full((len(part),), sigma, device=event.device), own)
            for part, own in zip(event.split(rows), label.split(rows), strict=True)
        ]
    )
    if not found.isfinite().all():
        raise WeirError(
            f"evaluation: what the model denoises at sigma {sigma:g} is NaN or infinite; it has "
            "diverged"
        )
    return found


def denoising_scores(
    model: ImageModel, held: HeldOut, levels: Sequence[float]
) -> tuple[dict[str, float], pd.DataFrame]:
    """Mean squared error at each level of noise, as a share of the variance of the data.

    Args:
        model: that denoises pictures.
        held: all of them are noised, the same way for every model.
        levels: deviations of the noise, in units of the data's own.

    Returns:
        scores by name, and the table `denoising`.
    """
    errors = []
    for level in levels:
        total = 0.0
        for n in range(held.rounds):
            clean = held.scale.event(held.dequantised(n))
            answer = denoised(
                model, noisy(clean, level * SIGMA_DATA, n), level * SIGMA_DATA, held.label
            )
            total += float((answer - clean).double().square().mean())
        errors.append(total / held.rounds / SIGMA_DATA**2)
    names = [score_name(level) for level in levels]
    table = pd.DataFrame({"sigma": list(map(float, levels)), "mse": errors})
    return dict(zip(names, errors, strict=True)), table


def score_name(level: float) -> str:
    """Name of the score at a level of noise, in units of the data's deviation."""
    return f"denoising_mse_{level:g}"
