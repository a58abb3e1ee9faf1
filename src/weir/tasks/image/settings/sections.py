"""Nodes of params.yaml that are particular to images."""

from __future__ import annotations

from weir.settings.base import Config
from weir.settings.nodes import SHARED
from weir.tasks.image.settings.baseline import ImageBaseline
from weir.tasks.image.settings.dataset import ImageDataset
from weir.tasks.image.settings.models import ImageStage1, ImageStage2
from weir.tasks.image.settings.scoring import ImageDistill, ImageEvaluate

SECTIONS: dict[str, type[Config]] = {
    **SHARED,
    "datasets": ImageDataset,
    "stage1": ImageStage1,
    "stage2": ImageStage2,
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
