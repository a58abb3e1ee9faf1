"""Evaluate nodes of params.yaml, for clinical records."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from weir.settings.nodes import Evaluate

Embedding = Literal["pca", "umap"]


class ClinicalEvaluate(Evaluate):
    """Scores of one model on every record of a split, and what the report shows of it."""

    bootstrap: PositiveInt = Field(
        1000, ge=20, description="Resamples of the subjects behind the 95 % intervals."
    )
    bins: PositiveInt = Field(
        10, description="Bins of equally many records, for calibration and its diagram."
    )
    calibrate: Literal["none", "temperature"] = Field(
        "none",
        description="Divide the logits by one number, fitted on validation records, before "
        "scoring.",
    )
    min_positives: PositiveInt = Field(
        10,
        description="A subgroup with fewer records with the outcome, or without it, gets no score.",
    )
    cohorts: PositiveInt = Field(
        1,
        description="Synthetic sets of a generator, over which AUROCs of training on them are "
        "averaged: of one, with few outcomes, they vary by a hundredth.",
    )
    embedding: Embedding = Field(
        "pca", description="Plane on which records are shown; `umap` takes longer."
    )
