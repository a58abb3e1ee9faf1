"""Gradient boosting on aggregates of the events, or on their numbers alone.

Trees are kept as arrays: stored without pickle, and asked without scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from weir.tasks.clinical.baselines.constants import Fitted
from weir.tasks.clinical.baselines.logistic import counts, feature_table, features

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records
    from weir.tasks.clinical.settings.baseline import Boosting


class Trees(Fitted):
    """scikit-learn's histogram gradient boosting (Ke et al. 2017, LightGBM) of a yes-or-no outcome.

    Buffers, of trees padded to the largest: `feature`, `left`, `right` `[tree, node]` int32,
    `threshold` float64 (a value at most that goes left), `missing_left` bool, `value` float64 (a
    leaf's logit); a leaf is its own left and right. `offset`: the logit before the first tree,
    `depth`: steps from the root to the deepest leaf.
    """

    def __init__(self, settings: Boosting) -> None:
        super().__init__()
        self.settings = settings
        whole, real = torch.zeros(0, 0, dtype=torch.int32), torch.zeros(0, 0, dtype=torch.float64)
        self.store(feature=whole, left=whole, right=whole, threshold=real, value=real)
        self.store(
            missing_left=torch.zeros(0, 0, dtype=torch.bool),
            offset=torch.zeros((), dtype=torch.float64),
            depth=torch.zeros((), dtype=torch.int32),
        )

    def grow(self, features: Tensor, outcome: Tensor, seed: int) -> None:
        """Fit to `features` `[record, feature]`, NaN for missing, and `outcome` `[record]`.

        No record is held back for early stopping: the number of trees is a setting.
        """
        # Takes a second to import, and only fitting needs it.
        from sklearn.ensemble import HistGradientBoostingClassifier

        settings = self.settings
        model = HistGradientBoostingClassifier(
            learning_rate=settings.learning_rate,
            max_iter=settings.trees,
            max_leaf_nodes=settings.leaves,
            min_samples_leaf=settings.min_leaf,
            l2_regularization=settings.l2,
            max_features=settings.max_features,
            early_stopping=False,
            random_state=seed,
        )
        # scikit-learn cannot bin a feature that nobody has; a constant one is never split on.
        table = features.double().masked_fill(features.isnan().all(0), 0.0)
        model.fit(table.cpu().numpy(), outcome.cpu().numpy() > 0)
        # scikit-learn has no public way to its trees; a test compares with its predictions.
        self._take([stage[0].nodes for stage in model._predictors], model._baseline_prediction)

    def logit(self, features: Tensor) -> Tensor:
        """Sum over trees of the leaf that each record falls into, `[record]` float64."""
        features = features.double()
        tree = torch.arange(len(self.value), device=features.device)
        node = torch.zeros(len(features), len(tree), dtype=torch.int64, device=features.device)
        for _ in range(int(self.depth)):
            x = features.gather(1, self.feature[tree, node].long())
            goes_left = torch.where(
                x.isnan(), self.missing_left[tree, node], x <= self.threshold[tree, node]
            )
            node = torch.where(goes_left, self.left[tree, node], self.right[tree, node]).long()
        return self.value[tree, node].sum(1) + self.offset

    def _take(self, trees: list[np.ndarray], offset: np.ndarray) -> None:
        """Keep the nodes (a structured array for each tree) as padded arrays."""
        size = max(map(len, trees))
        own = np.arange(size)

        def padded(name: str, kind: str) -> Tensor:
            table = np.zeros((len(trees), size), kind)
            for row, nodes in zip(table, trees, strict=True):
                row[: len(nodes)] = nodes[name]
            return torch.from_numpy(table)

        leaf = padded("is_leaf", "bool") | ~torch.from_numpy(
            np.stack([own < len(nodes) for nodes in trees])
        )
        stay = torch.from_numpy(own.astype("int32"))
        self.store(
            feature=torch.where(leaf, 0, padded("feature_idx", "int32")),
            left=torch.where(leaf, stay, padded("left", "int32")),
            right=torch.where(leaf, stay, padded("right", "int32")),
            threshold=padded("num_threshold", "float64"),
            missing_left=padded("missing_go_to_left", "bool"),
            value=torch.where(leaf, padded("value", "float64"), 0.0),
            offset=torch.tensor(float(np.ravel(offset)[0]), dtype=torch.float64),
            depth=torch.tensor(max(int(nodes["depth"].max()) for nodes in trees)).int(),
        )


class Boosted(Fitted):
    """Trees on `features` of each record.

    Args:
        codes: number of known codes.
        settings: of the trees.
        counts: whether they see the numbers of events by code alone: no value and no static
            feature. What is measured, and how often, tells much about a patient.
    """

    def __init__(self, codes: int, settings: Boosting, *, counts: bool = False) -> None:
        super().__init__()
        self.codes, self.counts = codes, counts
        self.trees = Trees(settings)

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Grow the trees on the training records."""
        train = data.split("train")
        self.trees.grow(self._seen(feature_table(train, self.codes)), train.outcome, seed)

    def risk(self, records: Records) -> Tensor:
        """See `Fitted.risk`."""
        return self.trees.logit(self._seen(features(records, self.codes))).float()

    def _seen(self, table: Tensor) -> Tensor:
        return counts(table, self.codes) if self.counts else table
