"""A model and gradient boosting together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from weir.errors import UserError
from weir.tasks.clinical.baselines.constants import Fitted, predicts_risk
from weir.tasks.clinical.baselines.logistic import features
from weir.tasks.clinical.baselines.trees import Trees

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.settings.baseline import Boosting

SHARES = 100
"""Steps in which the model's share is tried from 0 to 1."""


class Stacked(Fitted):
    """Weighted mean of a model's logit and of boosting's.

    A model without a risk only lends its representation to the trees.

    Args:
        model: has `risk`, `represent` or both.
        codes: number of known codes.
        settings: of the trees.
        representation: whether the trees see the model's representation beside the features.
        share: the model's; None for that of least log loss on validation records.
    """

    def __init__(
        self,
        model: nn.Module,
        codes: int,
        settings: Boosting,
        *,
        representation: bool,
        share: float | None,
    ) -> None:
        super().__init__()
        self.model, self.codes = model, codes
        self.representation, self.wanted = representation, share
        self.trees = Trees(settings)
        self.store(share=torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def fit(self, data: ClinicalData, seed: int) -> None:
        """Grow the trees on training records, and weigh on validation records.

        Raises:
            UserError: the model has nothing to lend.
        """
        predicts = predicts_risk(self.model)
        if not predicts and not self.representation:
            raise UserError(
                "baseline: the model of `stacked` has no outcome head, so it has no risk to "
                "share; set `representation: true`, or name a model with a head"
            )
        train, validation = data.split("train"), data.split("validation")
        self.trees.grow(self._table(train), train.outcome, seed)
        share = 0.0
        if predicts and self.wanted is not None:
            share = self.wanted
        elif predicts and len(validation):
            pairs = [self._logits(batch) for _, batch in validation.all()]
            own, trees = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            share = best_share(own, trees, validation.outcome)
        elif predicts:
            share = 0.5
        self.store(share=torch.tensor(share, dtype=torch.float64))

    def risk(self, records: Records) -> Tensor:
        """See `Fitted.risk`."""
        own, trees = self._logits(records)
        return (self.share * own + (1 - self.share) * trees).float()

    def _logits(self, records: Records) -> tuple[Tensor, Tensor]:
        trees = self.trees.logit(self._seen(records))
        predicts = predicts_risk(self.model)
        return (self.model.risk(records).double() if predicts else torch.zeros_like(trees)), trees

    def _seen(self, records: Records) -> Tensor:
        table = features(records, self.codes)
        if self.representation:
            table = torch.cat([table, self.model.represent(records).to(table)], 1)
        return table

    def _table(self, records: RecordSet) -> Tensor:
        return torch.cat([self._seen(batch) for _, batch in records.all()])


def best_share(own: Tensor, other: Tensor, outcome: Tensor) -> float:
    """The share of `own` in the mean of two logits `[record]` that has the least log loss."""
    shares = torch.linspace(0, 1, SHARES + 1, dtype=torch.float64)[:, None]
    logit = shares * own.double().cpu() + (1 - shares) * other.double().cpu()
    loss = (softplus(logit) - outcome.double().cpu() * logit).mean(1)
    return float(shares[loss.argmin(), 0])
