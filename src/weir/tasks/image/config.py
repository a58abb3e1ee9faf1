"""Nodes of params.yaml that are particular to images."""

from __future__ import annotations

from weir.config.base import Config
from weir.config.nodes import Teacher
from weir.tasks.image.baseline_config import ImageBaseline
from weir.tasks.image.dataset_config import ImageDataset
from weir.tasks.image.distill_config import ImageDistill
from weir.tasks.image.evaluate_config import ImageEvaluate
from weir.tasks.image.stage1_config import ImageStage1
from weir.tasks.image.stage2_config import ImageStage2

SECTIONS: dict[str, type[Config]] = {
    "datasets": ImageDataset,
    "stage1": ImageStage1,
    "stage2": ImageStage2,
    "teacher": Teacher,
    "distill": ImageDistill,
    "baseline": ImageBaseline,
    "evaluate": ImageEvaluate,
}

PLOT = {
    "x": "sigma",
    "y": "mse",
    "title": "Denoising error against the noise",
    "template": "linear",
}
"""How `dvc plots` draws the `curve.csv` of an evaluation."""
