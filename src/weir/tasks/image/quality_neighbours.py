"""Whether samples are copies of training items, and whether they can be told from real ones."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from weir.metrics.feature_distance import nearest
from weir.tasks.image.data import ImageSet
from weir.tasks.image.held_out import HeldOut, some

COMPARED = 1000
"""Most samples and items whose nearest training item is sought."""

TOLD = 2000
"""Most samples, and as many items, of the two-sample test."""

FOLDS = 3
"""Of the two-sample test; it takes as many items at least."""

BOOSTING = {"max_iter": 30, "learning_rate": 0.2, "max_leaf_nodes": 15, "max_bins": 64}
"""Its classifier: as good as twice the trees of scikit-learn's defaults, in half the time."""


def nearest_scores(
    samples: Tensor, held: HeldOut, train: ImageSet
) -> tuple[dict[str, float], pd.DataFrame]:
    """Distances to the nearest training item: of samples, over those of held-out items.

    Args:
        samples: `[class, draw, *shape]`, unit scale.
        held: the items.
        train: training items.

    Returns:
        scores, and the table `nearest`.
    """
    made, _ = held.thinned(samples)
    base = held.scale.unit(train.raw.float()).flatten(1)
    distances = {
        kind: nearest(points[some(len(points), COMPARED)].flatten(1), base)[0]
        for kind, points in (("sample", made), ("test", held.unit))
    }
    ratio = distances["sample"].median() / distances["test"].median()
    table = pd.concat(
        pd.DataFrame({"kind": kind, "distance": distance.cpu().numpy()})
        for kind, distance in distances.items()
    )
    return {"nearest_ratio": float(ratio)}, table


def two_sample_auc(samples: Tensor, held: HeldOut, seed: int) -> dict[str, float]:
    """Cross-validated AUC of boosting that tells samples from items by values and class.

    One half if it cannot (Lopez-Paz & Oquab 2017). Nothing if there are too few items.

    Args:
        samples: `[class, draw, *shape]`, unit scale.
        held: the items.
        seed: of the folds.
    """
    from weir.metrics.two_sample import boosted_auc

    made, asked = held.thinned(samples)
    count = min(len(made), len(held), TOLD)
    if count < FOLDS:
        return {}
    tables = [
        torch.cat([points.flatten(1), label[:, None]], dim=1)[some(len(points), count)].cpu()
        for points, label in ((made, asked), (held.unit, held.label))
    ]
    return {"two_sample_auc": boosted_auc(*tables, folds=FOLDS, seed=seed, **BOOSTING)}
