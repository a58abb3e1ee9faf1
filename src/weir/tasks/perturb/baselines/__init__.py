"""Baselines: what a generative model of perturbed cells has to beat, and the ceilings.

| method | generated cells | needs |
|---|---|---|
| `no_change` | the control cells themselves | data |
| `perturbed_mean` | training cells under the target | data |
| `matching_mean` | training cells under conditions that share a perturbation with it | data |
| `additive` | control cell + the mean change of each perturbation | data |
| `delta_pca` | the same within the principal components | data |
| `latent_delta` | the same in `z_int`, decoded and drawn (scGen) | stage 1 |
| `linear` | control cell + a bilinear ridge regression's change | data |
| `nearest_group` | training cells of the most similar context under the target | data |
| `split_half` | one half of the true cells, scored on the other: a ceiling | data |
| `oracle` | drawn by the exact law in the control cells' true states: a ceiling | simulation |

Each is an `nn.Module` with `respond` and `nfe` (see `responder.Responder`) and `fit`, whose state
is all that a model folder has to hold. All give something for an unseen dose or combination, see
`compose`.
"""

from __future__ import annotations

from torch import nn

from weir.tasks.perturb.baselines.ceilings import Oracle, SplitHalf
from weir.tasks.perturb.baselines.fitted import Fitted
from weir.tasks.perturb.baselines.linear import Linear
from weir.tasks.perturb.baselines.pools import MatchingMean, NearestGroup, PerturbedMean
from weir.tasks.perturb.baselines.shifts import Additive, DeltaPca, LatentDelta, NoChange

__all__ = [
    "Additive",
    "DeltaPca",
    "Fitted",
    "LatentDelta",
    "Linear",
    "MatchingMean",
    "NearestGroup",
    "NoChange",
    "Oracle",
    "PerturbedMean",
    "SplitHalf",
    "build",
]


def build(
    method: str, scale: float, *, shift: bool = False, vae: nn.Module | None = None
) -> Fitted:
    """An unfitted baseline.

    Args:
        method: one of the table above.
        scale: library to which counts are normalised.
        shift: see `NearestGroup`.
        vae: the stage-1 model, for `latent_delta`.

    Raises:
        ValueError: unknown method, or no stage-1 model where one is needed.
    """
    match method:
        case "no_change":
            return NoChange(scale)
        case "perturbed_mean":
            return PerturbedMean(scale)
        case "matching_mean":
            return MatchingMean(scale)
        case "additive":
            return Additive(scale)
        case "delta_pca":
            return DeltaPca(scale)
        case "linear":
            return Linear(scale)
        case "nearest_group":
            return NearestGroup(scale, shift)
        case "split_half":
            return SplitHalf()
        case "oracle":
            return Oracle()
        case "latent_delta" if vae is not None:
            return LatentDelta(vae, scale)
    raise ValueError(f"baseline {method!r} is unknown, or needs a stage-1 model")
