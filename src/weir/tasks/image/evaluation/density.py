"""Exact likelihoods: bits per dimension of levels, Bayes' classifier, the gap to a known law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from weir.errors import WeirError
from weir.tasks.image.evaluation.samples import HeldOut

if TYPE_CHECKING:
    from weir.tasks.image.flow.image_flow import ImageModel

_TOGETHER = 2**20
"""Values of pictures whose density is computed together."""


def log_prob_by_class(model: ImageModel, unit: Tensor, classes: int) -> Tensor:
    """Log density of pictures given each class, `[item, class]` float64.

    Args:
        model: with a density.
        unit: `[item, *shape]`.
        classes: number of classes.

    Raises:
        WeirError: a log density is NaN or infinite.
    """
    rows = max(1, _TOGETHER // unit[0].numel())
    parts = []
    for part in unit.split(rows):
        label = torch.zeros(len(part), dtype=torch.int64, device=unit.device)
        found = [model.log_prob(part, label + c).double() for c in range(classes)]
        parts.append(torch.stack(found, dim=1))
    log = torch.cat(parts)
    if not log.isfinite().all():
        raise WeirError(
            f"evaluation: the log density of {int((~log.isfinite()).any(dim=1).sum())} pictures "
            "is NaN or infinite; the model has diverged"
        )
    return log


def bit_scores(model: ImageModel, held: HeldOut) -> tuple[dict[str, float], pd.DataFrame]:
    """Bits per dimension, the class known or not, and the share of classes that the density tells.

    Every item is dequantised several times: the mean over uniform noise of `-log p(level + u)` is
    an upper bound of the level's own bits (Theis et al. 2016).

    Returns:
        scores, and the table `bits` with the mean of each item.
    """
    dimensions = held.unit[0].numel()
    prior = held.priors.double().log()
    own = held.label[:, None]
    bits = bits_class = accuracy = torch.zeros(len(held), dtype=torch.float64)
    bits, bits_class, accuracy = (
        part.to(held.unit.device) for part in (bits, bits_class, accuracy)
    )
    for n in range(held.rounds):
        log = log_prob_by_class(model, held.dequantised(n), len(held.classes))
        joint = log + prior
        bits = bits + held.scale.bits_per_dim(joint.logsumexp(dim=1), dimensions)
        bits_class = bits_class + held.scale.bits_per_dim(log.gather(1, own)[:, 0], dimensions)
        accuracy = accuracy + (joint.argmax(dim=1) == held.label)
    scores = {
        "bits_per_dim": float(bits.mean()) / held.rounds,
        "bits_per_dim_class": float(bits_class.mean()) / held.rounds,
        "bayes_accuracy": float(accuracy.mean()) / held.rounds,
    }
    table = pd.DataFrame(
        {
            "item": range(len(held)),
            "label": [held.classes[c] for c in held.label.tolist()],
            "bits": (bits / held.rounds).cpu().numpy(),
            "bits_class": (bits_class / held.rounds).cpu().numpy(),
        }
    )
    return scores, table


def gap_scores(model: ImageModel, held: HeldOut, law: Any) -> dict[str, float]:
    """How far a density is from the known law of the points, and the classes that it tells.

    Args:
        model: with a density.
        held: points, drawn from the law.
        law: `weir.tasks.image.simulation.toy_law.ToyLaw`.
    """
    points = held.unit.double().cpu()
    # float32 points lie beside those that were drawn; where a density is cut off, outside of it.
    truth = law.log_prob(points).to(held.unit.device)
    inside = truth.isfinite()
    joint = log_prob_by_class(model, held.unit, len(held.classes)) + held.priors.double().log()
    gap = (truth - joint.logsumexp(dim=1))[inside].mean()
    return {
        "density_gap": float(gap),
        "bayes_accuracy": float((joint.argmax(dim=1) == held.label).double().mean()),
    }
