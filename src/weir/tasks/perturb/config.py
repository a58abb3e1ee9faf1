"""Nodes of params.yaml that are particular to perturbation responses."""

from __future__ import annotations

from weir.config.base import Config
from weir.config.nodes import Distill, Teacher
from weir.tasks.perturb.baseline_config import PerturbBaseline
from weir.tasks.perturb.dataset_config import PerturbDataset
from weir.tasks.perturb.evaluate_config import PerturbEvaluate
from weir.tasks.perturb.flow_config import PerturbJoint, PerturbStage2
from weir.tasks.perturb.stage1_config import PerturbStage1

SECTIONS: dict[str, type[Config]] = {
    "datasets": PerturbDataset,
    "stage1": PerturbStage1,
    "stage2": PerturbStage2,
    "joint": PerturbJoint,
    "teacher": Teacher,
    "distill": Distill,
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
