"""Nodes of params.yaml that are particular to clinical records."""

from __future__ import annotations

from weir.config.base import Config
from weir.config.nodes import Distill, Teacher
from weir.tasks.clinical.baseline_config import ClinicalBaseline
from weir.tasks.clinical.dataset_config import ClinicalDataset
from weir.tasks.clinical.evaluate_config import ClinicalEvaluate
from weir.tasks.clinical.joint_config import ClinicalJoint
from weir.tasks.clinical.stage1_config import ClinicalStage1
from weir.tasks.clinical.stage2_config import ClinicalStage2

SECTIONS: dict[str, type[Config]] = {
    "datasets": ClinicalDataset,
    "stage1": ClinicalStage1,
    "stage2": ClinicalStage2,
    "joint": ClinicalJoint,
    "teacher": Teacher,
    "distill": Distill,
    "baseline": ClinicalBaseline,
    "evaluate": ClinicalEvaluate,
}

PLOT = {
    "x": "predicted",
    "y": "observed",
    "title": "Observed share of the outcome against predicted risk",
    "template": "linear",
}
"""How `dvc plots` draws the `curve.csv` of an evaluation."""
