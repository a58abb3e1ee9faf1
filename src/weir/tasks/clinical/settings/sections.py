"""Nodes of params.yaml that are particular to clinical records."""

from __future__ import annotations

from weir.settings.base import Config
from weir.settings.nodes import SHARED
from weir.tasks.clinical.settings.baseline import ClinicalBaseline
from weir.tasks.clinical.settings.dataset import ClinicalDataset
from weir.tasks.clinical.settings.models import ClinicalJoint, ClinicalStage1, ClinicalStage2
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate

SECTIONS: dict[str, type[Config]] = {
    **SHARED,
    "datasets": ClinicalDataset,
    "stage1": ClinicalStage1,
    "stage2": ClinicalStage2,
    "joint": ClinicalJoint,
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
