"""The `distill` nodes of the image task."""

from __future__ import annotations

from pydantic import Field

from weir.config.nodes import Distill
from weir.tasks.image.flow_config import NetworkSettings


class ImageDistill(Distill):
    """A student that jumps from noise to a picture in one or a few network calls."""

    student: NetworkSettings | None = Field(
        None,
        description="For a teacher of model `flow`, whose gradient makes no jumps: its student's "
        "network; null takes the defaults. Other students have their teacher's.",
    )
