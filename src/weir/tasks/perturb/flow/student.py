"""Students of perturbation: the teacher's network with a step size as a further input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir.tasks.perturb.flow import joint, stage2

if TYPE_CHECKING:
    from weir.artifacts.model_folder import ModelCard
    from weir.settings.nodes import Distill
    from weir.tasks.perturb.flow.cell_flow import CellFlow


def build(card: ModelCard) -> CellFlow:
    """An untrained student of the shape of the teacher that its card names."""
    teacher = card.parent()
    module = stage2 if teacher.section == "stage2" else joint
    return module.build(teacher).as_student()


def start(config: Distill, teacher: CellFlow) -> CellFlow:
    """The student that a node trains: a copy of its teacher."""
    return teacher.as_student()
