"""What was found of one thing that a clinical model does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from weir.artifacts.evaluation import Cost


@dataclass(frozen=True, eq=False)
class Part:
    """One family's part of an evaluation; see `Scored`.

    Attributes:
        metrics: scores by name.
        protocol: what was scored, and how.
        seconds: time of the whole split.
        latency_ms: time of one item with all its samples.
        nfe: network calls for a sample; None where the model's kind tells it.
        quality_curve: points of quality against cost.
        curve: of `curve.csv`, None if there is nothing to draw.
        tables: by the name of their file.
    """

    metrics: Mapping[str, float]
    protocol: Mapping[str, Any]
    seconds: float
    latency_ms: float
    nfe: int | None = None
    quality_curve: Sequence[Mapping[str, Any]] = ()
    curve: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def cost(self, calls: int) -> Cost:
        """How it was scored, and what it took; a network is called `calls` times if unsaid."""
        nfe = calls if self.nfe is None else self.nfe
        return Cost(self.protocol, nfe, self.latency_ms, self.seconds)
