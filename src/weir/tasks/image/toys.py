"""The laws of toys by the settings that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir.tasks.image.simulation_config import Kind, Simulation
from weir.tasks.image.toy_arcs import Moons, Spirals
from weir.tasks.image.toy_closed import Checkerboard, Ring
from weir.tasks.image.toy_law import ToyLaw

LAWS: dict[Kind, type[ToyLaw]] = {
    "moons": Moons,
    "spirals": Spirals,
    "checkerboard": Checkerboard,
    "mixture": Ring,
}


def law_of(truth: Mapping[str, Any]) -> ToyLaw:
    """The law that settings describe: `Schema.truth`, or a dumped `Simulation`."""
    settings = Simulation.model_validate(dict(truth))
    return LAWS[settings.kind](settings.sd)
