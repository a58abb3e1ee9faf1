"""Nodes of params.yaml that are particular to forecasting."""

from __future__ import annotations

from weir.settings.base import Config
from weir.settings.nodes import SHARED
from weir.tasks.forecast.settings.baseline import ForecastBaseline
from weir.tasks.forecast.settings.dataset import ForecastDataset
from weir.tasks.forecast.settings.models import ForecastJoint, ForecastStage1, ForecastStage2

SECTIONS: dict[str, type[Config]] = {
    **SHARED,
    "datasets": ForecastDataset,
    "stage1": ForecastStage1,
    "stage2": ForecastStage2,
    "joint": ForecastJoint,
    "baseline": ForecastBaseline,
}

PLOT = {
    "x": "step",
    "y": "crps",
    "title": "Error along the horizon",
    "template": "linear",
}
"""How `dvc plots` draws the `curve.csv` of an evaluation."""
