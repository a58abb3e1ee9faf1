"""A context that the training data does not have: its means, from its own control cells.

The anchor of a flow (see `weir.tasks.perturb.anchor`) holds, for each context, the level of its
control cells and the ridge regression's opinion of its perturbed ones. Neither asks for perturbed
cells of the context, so that a new donor's control cells are enough. The regression itself is not
kept, but what it said of the known contexts is, and that determines it: apart from `slope` times
the control's level it is affine, with a gradient in the span of the known contexts' profiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.perturb.cells import Cells

if TYPE_CHECKING:
    from weir.tasks.perturb.anchor import GroupAnchor
    from weir.tasks.perturb.flow import CellFlow

LEAST = 20
"""Control cells below which the means of a context are left alone."""


@dataclass(frozen=True)
class NewContext:
    """What an anchored flow must know of a context.

    Attributes:
        level: `[gene]`, of the mean control cell.
        response: `[condition, gene]`, levels of the regression's opinion; no row without one.
        controls: some control cells.
    """

    level: Tensor
    response: Tensor
    controls: Cells


def learn(model: CellFlow, share: Tensor, controls: Cells) -> NewContext:
    """A context as fitting would have described it.

    Args:
        model: anchored.
        share: `[gene]`, mean over the context's control cells of `counts / library`.
        controls: at most as many of them as the model keeps of each context.
    """
    level = model.anchor.level(share)
    return NewContext(level, ridge_elsewhere(model.anchor, level), controls)


def ridge_elsewhere(anchor: GroupAnchor, level: Tensor) -> Tensor:
    """What the anchor's regression says of a control level `[gene]`, `[condition, gene]`."""
    if not len(anchor.response):
        return anchor.response[:, 0]
    known, slope = anchor.known, anchor.settings.slope
    control, level = anchor.control[known].double(), level.double()
    rest = anchor.response[:, known].double() - slope * control
    mean, centre = rest.mean(1, keepdim=True), control.mean(0)
    profile = control - centre
    # Profiles sum to zero, so that one eigenvalue is nothing but rounding.
    inverse = torch.linalg.pinv(profile @ profile.T, rtol=1e-9, hermitian=True)
    weight = (level - centre) @ profile.T @ inverse
    found = slope * level + mean[:, 0] + torch.einsum("k,ckg->cg", weight, rest - mean)
    return found.float()


def enter(model: CellFlow, context: NewContext | None) -> None:
    """Let cells of no known context be of this one, or again of none, in place."""
    anchor, reference = model.anchor, model.reference
    anchor.known[0] = context is not None
    reference.held[0] = 0
    if context is None:
        return
    anchor.control[0] = context.level
    anchor.response[:, 0] = context.response
    cells = context.controls
    count = len(cells.library)
    reference.held[0] = count
    reference.counts[0, :count] = cells.counts.to(torch.int32)
    for name in ("library", "batch", "cell_type", "niche"):
        getattr(reference, name)[0, :count] = getattr(cells, name)
