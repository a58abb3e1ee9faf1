"""What objectives share that foretell the outcome: how validation scores it."""

from __future__ import annotations

from torch import Tensor

from weir.metrics.classification import auprc, auroc
from weir.training.objective import Objective


class RiskObjective(Objective):
    """An objective whose evaluation yields the logit `risk` and the `outcome` of each record."""

    increasing = frozenset({"auroc", "auprc"})

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        """AUROC and AUPRC over all validation records; none if they are of one class."""
        return risk_scores(predicted)


def risk_scores(predicted: dict[str, Tensor]) -> dict[str, float]:
    """AUROC and AUPRC of the logits `risk` of records with the outcomes `outcome`."""
    if "risk" not in predicted:
        return {}
    risk, outcome = predicted["risk"], predicted["outcome"]
    if outcome.min() == outcome.max():
        return {}
    return {"auroc": float(auroc(risk, outcome)), "auprc": float(auprc(risk, outcome))}
