"""Scores of samples by features of the data set's own classifier: classes and distances.

They tell also whether samples are copies of training items, and whether they can be told from real
ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from weir.metrics.feature_distance import frechet_distance, kernel_distance, manifold, nearest
from weir.tasks.image.data.load import ImageSet
from weir.tasks.image.evaluation.samples import HeldOut, some

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


MISSING = 0.2
"""A class of which less than this share of what is due was made counts as missing."""

_TOGETHER = 2**20
"""Values of pictures that are judged together."""


class Judged(NamedTuple):
    """What the classifier makes of pictures.

    Attributes:
        label: `[item]`, the likeliest class.
        features: `[item, feature]`.
    """

    label: Tensor
    features: Tensor


def judged(judge: Any, unit: Tensor) -> Judged:
    """The classifier's answer for `unit`, `[item, *shape]`."""
    rows = max(1, _TOGETHER // unit[0].numel())
    found = [(judge(part).argmax(dim=1), judge.features(part)) for part in unit.split(rows)]
    return Judged(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def feature_scores(
    judge: nn.Module, samples: Tensor, held: HeldOut
) -> tuple[dict[str, float], pd.DataFrame]:
    """Scores of samples by the classifier, and the table `confusion`.

    Args:
        judge: `weir.tasks.image.data.judge.Judge`, on the samples' device.
        samples: `[class, draw, *shape]`, unit scale.
        held: the items; distances take samples in their shares of the classes.
    """
    classes, draws = samples.shape[:2]
    made = judged(judge, samples.flatten(0, 1))
    asked = torch.arange(classes, device=samples.device).repeat_interleave(draws)
    counts = torch.bincount(asked * classes + made.label, minlength=classes**2)
    counts = counts.reshape(classes, classes).double()
    # Of every class as many as there should be.
    shares = held.shares.double() @ (counts / draws)
    due = held.shares > 0
    features, of_class = held.thinned(made.features.unflatten(0, (classes, draws)))
    real = judged(judge, held.unit).features
    scores = {
        "class_accuracy": float(counts.diagonal().sum() / counts.sum()),
        "classifier_fd": frechet_distance(real, features),
        "classifier_kid": kernel_distance(real, features, x_strata=held.label, y_strata=of_class),
        **_covered(real, features),
        "missing_classes": float((shares < MISSING * held.shares)[due].sum()),
    }
    table = pd.DataFrame(
        {
            "asked": [name for name in held.classes for _ in held.classes],
            "judged": list(held.classes) * classes,
            "count": counts.flatten().long().cpu().numpy(),
        }
    )
    return scores, table


def _covered(real: Tensor, made: Tensor) -> dict[str, float]:
    """Precision, recall, density, coverage; nothing where there are too few items for balls."""
    return manifold(real, made)._asdict() if min(len(real), len(made)) > 5 else {}
