"""Nodes of params.yaml that are particular to perturbation responses."""

from __future__ import annotations

from weir.settings.base import Config
from weir.settings.nodes import SHARED
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.perturb.settings.models import PerturbJoint, PerturbStage1, PerturbStage2
from weir.tasks.perturb.settings.scoring import PerturbBaseline, PerturbEvaluate

SECTIONS: dict[str, type[Config]] = {
    **SHARED,
    "datasets": PerturbDataset,
    "stage1": PerturbStage1,
    "stage2": PerturbStage2,
    "joint": PerturbJoint,
    "baseline": PerturbBaseline,
    "evaluate": PerturbEvaluate,
}

PLOT = {
    "x": "true_delta",
    "y": "predicted_delta",
    "title": "Change of expression by gene, true and predicted",
    "template": "scatter",
}
"""How `dvc plots` draws the `curve.csv` of an evaluation."""
