"""The `distill` nodes of the image task."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from weir.config.base import Config
from weir.config.nodes import Distill
from weir.tasks.image.flow_config import NetworkSettings
from weir.tasks.image.stage2_config import ImageStage2


class ImageDistill(Distill):
    """A student that jumps from noise to a picture in one or a few network calls."""

    student: NetworkSettings | None = Field(
        None,
        description="For a teacher of model `flow`, whose gradient makes no jumps: its student's "
        "network; null takes the defaults. Other students have their teacher's.",
    )

    def fits_on(self, above: Sequence[Config]) -> None:
        """A network of its own is for the student of a flow only."""
        kind = next(each.model for each in above if isinstance(each, ImageStage2))
        if self.student is not None and kind != "flow":
            raise ValueError(
                f"student is for teachers of model flow; the student of a {kind} has its network, "
                "so remove it"
            )
