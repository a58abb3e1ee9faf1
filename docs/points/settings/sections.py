"""Nodes of params.yaml, for points on a line."""

from typing import Literal

from pydantic import Field, PositiveInt

from weir.settings.base import Config, NodeName
from weir.settings.nodes import SHARED
from weir.settings.source import Simulated
from weir.settings.training import Training


class Simulation(Config):
    """A mixture of two Gaussians of deviation 1 and equal weight."""

    points: PositiveInt = Field(2000, ge=20, description="Number of points.")
    apart: float = Field(6.0, description="Distance of the two means.")
    seed: int = Field(0, ge=0, description="Seed of the points.")


class Dataset(Config):
    """Points on a line."""

    task: Literal["points"] = Field(description="The kind of data.")
    source: Simulated[Simulation] = Field(description="Where they come from.")


class Fitted(Config):
    """What is fitted in one go: stage 1, and the baseline, for which no seed matters."""

    dataset: NodeName = Field(description="The dataset node to fit.")


class Flow(Config):
    """Stage 2: a flow of the standardised points."""

    stage1: NodeName = Field(description="The stage1 node that it is built on.")
    width: PositiveInt = Field(32, description="Width of the network.")
    training: Training = Field(default_factory=Training, description="Optimisation.")


SECTIONS = SHARED | {"datasets": Dataset, "stage1": Fitted, "stage2": Flow, "baseline": Fitted}
PLOT = {"x": "level", "y": "quantile", "title": "Quantiles of the samples", "template": "linear"}
