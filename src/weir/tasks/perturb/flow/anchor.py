"""Anchors of decoded means: what control cells and perturbed groups of the training data show.

An autoencoder smooths over contexts, and a flow learns how a perturbation differs between contexts
from as many examples as there are contexts. Two things are known better. Control cells are
observed in every context, also in one whose perturbed cells are held out: what the decoder gets
wrong of them is wrong of the generated ones, too; so a model carries a few of every context with
it. And a ridge regression of the groups' response on the groups' control profile needs nothing but
means. So the mean of what is generated for a context and condition is moved, gene by gene, to the
mean of the flow's and the ridge's opinion; how cells differ around that mean is left to the flow.

Everything happens at the level `v = log(share + offset)`, so that a gene that is rare in
control cells is not multiplied by the ratio of two small numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.tasks.perturb.data.cells import Cells

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import CellSet


class ReferenceCells(nn.Module):
    """Training controls by context, so that a group's mean needs no company of the asked cell.

    Counts, not latents, are kept: in joint training the encoder changes under way.

    Args:
        contexts: number of contexts.
        most: cells of a context that are kept at most.
        genes: number of genes.
        perturbations: number of perturbations.
        niche: width of the spatial features.
    """

    counts: Tensor
    library: Tensor
    batch: Tensor
    cell_type: Tensor
    niche: Tensor
    held: Tensor

    def __init__(
        self, contexts: int, most: int, genes: int, perturbations: int, niche: int
    ) -> None:
        super().__init__()
        self.perturbations = perturbations
        shape = (contexts + 1, most)
        self.register_buffer("counts", torch.zeros(*shape, genes, dtype=torch.int32))
        self.register_buffer("library", torch.ones(shape))
        self.register_buffer("batch", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("cell_type", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("niche", torch.zeros(*shape, niche))
        self.register_buffer("held", torch.zeros(contexts + 1, dtype=torch.int64))

    @torch.no_grad()
    def fit(self, cells: CellSet, place: Tensor) -> None:
        """Take control cells, a random few where there are many; always the same ones.

        Args:
            cells: training cells.
            place: `[cell]` int64, context plus one, 0 for none.
        """
        most = self.counts.shape[1]
        generator = torch.Generator().manual_seed(0)
        for number in range(1, len(self.held)):
            found = ((place == number) & (cells.condition.to(place.device) == 0)).nonzero()[:, 0]
            order = torch.randperm(len(found), generator=generator)[:most].to(found.device)
            self.held[number] = len(order)
            if len(order):
                some = cells.batch(found[order])
                self.counts[number, : len(order)] = some.counts.to(torch.int32)
                for name in ("library", "batch", "cell_type", "niche"):
                    getattr(self, name)[number, : len(order)] = getattr(some, name)

    def of(self, place: int) -> Cells:
        """The cells of a context, given as its number plus one."""
        count = int(self.held[place])
        fields = (self.library, self.batch, self.cell_type)
        return Cells(
            self.counts[place, :count].float(),
            *(field[place, :count] for field in fields),
            self.library.new_zeros(count, self.perturbations),
            self.niche[place, :count],
        )


@dataclass(frozen=True)
class AnchorSettings:
    """How generated means are anchored.

    Attributes:
        response: weight of the ridge's opinion, 0 to 1; the flow has the rest.
        control: share of the decoder's error on control cells that is carried over to generated
            cells, 0 to 1.
        offset: counts per thousand of the library below which a level counts as low.
        slope: how much of a context's peculiarity survives a perturbation in the ridge: 1 if
            responses are shifts, 0 if perturbed cells are alike everywhere.
        penalty: of the ridge, in units of the mean square of the contexts' profiles.
        cells: control cells of each context on which means are taken.
    """

    response: float = 0.5
    control: float = 0.6
    offset: float = 1.0
    slope: float = 0.85
    penalty: float = 0.1
    cells: int = 128


def ridge_response(
    control: Tensor, perturbed: Tensor, every: Tensor, *, slope: float, penalty: float
) -> Tensor:
    """Levels of a perturbation in every context, from those where it was seen, `[context, gene]`.

    `v1 = slope v0 + mean(d) + (ridge of d - mean(d) on v0 - mean(v0))` with `d = v1 - slope v0`.

    Args:
        control: `[seen, gene]`, levels of the controls of contexts where it was seen.
        perturbed: `[seen, gene]`.
        every: `[context, gene]`, levels of all controls.
        slope: see `AnchorSettings`.
        penalty: see `AnchorSettings`.
    """
    control, perturbed, every = control.double(), perturbed.double(), every.double()
    change = perturbed - slope * control
    mean, centre = change.mean(0), control.mean(0)
    found = slope * every + mean
    profile = control - centre
    kernel = profile @ profile.T
    size = kernel.diagonal().mean()
    if len(control) > 1 and size > 0:
        eye = torch.eye(len(control), dtype=kernel.dtype, device=kernel.device)
        weight = torch.linalg.solve(kernel + penalty * size * eye, change - mean)
        found = found + (every - centre) @ profile.T @ weight
    return found.float()


class GroupAnchor(nn.Module):
    """Levels of groups, fitted in closed form to the training cells.

    Args:
        conditions: number of conditions; 0 is the control.
        contexts: number of contexts.
        genes: number of genes.
        settings: see there.
    """

    control: Tensor
    known: Tensor
    response: Tensor
    answered: Tensor

    def __init__(
        self, conditions: int, contexts: int, genes: int, settings: AnchorSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.least = settings.offset / 1000
        rows = conditions if settings.response else 0
        self.register_buffer("control", torch.zeros(contexts + 1, genes))
        self.register_buffer("known", torch.zeros(contexts + 1, dtype=torch.bool))
        self.register_buffer("response", torch.zeros(rows, contexts + 1, genes))
        self.register_buffer("answered", torch.zeros(rows, dtype=torch.bool))

    def level(self, share: Tensor) -> Tensor:
        """`log(share + least)`; of shares, in any shape."""
        return (share + self.least).log()

    def fit(self, share: Tensor, cells: Tensor) -> None:
        """Take the groups' mean shares, `[condition, contexts + 1, gene]`, and numbers of cells.

        Args:
            share: mean over a group's cells of `counts / library`.
            cells: `[condition, contexts + 1]`.
        """
        some = cells > 0
        some[:, 0] = False
        level = self.level(share)
        self.control.copy_(level[0])
        self.known.copy_(some[0])
        for row in range(1, len(self.response)):
            seen = some[row] & some[0]
            self.answered[row] = seen.any()
            if seen.any():
                self.response[row] = ridge_response(
                    level[0][seen],
                    level[row][seen],
                    level[0],
                    slope=self.settings.slope,
                    penalty=self.settings.penalty,
                )

    def shifts(
        self, before: Tensor, after: Tensor, place: int, condition: int | None
    ) -> tuple[Tensor, Tensor]:
        """What to add to levels of decoded cells of one group, `[gene]` each.

        Args:
            before: `[gene]`, mean decoded share of the context's control cells.
            after: `[gene]`, mean decoded share of what the flow makes of them.
            place: context plus one; 0 for none, which shifts nothing.
            condition: number of the condition; None if the data has none like it.

        Returns:
            Of decoded control cells, and of generated ones.
        """
        if not self.known[place]:
            return torch.zeros_like(before), torch.zeros_like(after)
        first = self.control[place] - self.level(before)
        if condition == 0:
            # What is made without a perturbation errs by the decoder, and new cells by the flow.
            return first, self.control[place] - self.level(after)
        second = self.settings.control * first
        if condition is not None and len(self.answered) and self.answered[condition]:
            ridge = self.response[condition, place] - self.level(after)
            second = torch.lerp(second, ridge, self.settings.response)
        return first, second

    def move(self, rate: Tensor, shift: Tensor) -> Tensor:
        """Means `[cell, gene]` whose shares are shifted in level, by `[cell, gene]`; sums stay.

        The mean share of a group moves as a share does, for the map is affine.
        """
        total = rate.sum(-1, keepdim=True)
        share = rate / total
        # Where a level falls below that of nothing at all, a tenth of the share remains.
        moved = torch.maximum((share + self.least) * shift.exp() - self.least, 0.1 * share)
        return moved * (total / moved.sum(-1, keepdim=True))


@torch.no_grad()
def group_shares(
    cells: CellSet, place: Tensor, conditions: int, contexts: int
) -> tuple[Tensor, Tensor]:
    """Mean shares `[condition, contexts + 1, gene]` of groups, and their numbers of cells.

    Args:
        cells: training cells.
        place: `[cell]` int64, context plus one, 0 for none.
        conditions: number of conditions.
        contexts: number of contexts.
    """
    group = cells.condition * (contexts + 1) + place
    sums, number = None, torch.bincount(group, minlength=conditions * (contexts + 1))
    for items, part in cells.all():
        shares = part.counts / part.library[:, None]
        if sums is None:
            sums = shares.new_zeros(len(number), shares.shape[1])
        sums.index_add_(0, group[items], shares)
    shape = (conditions, contexts + 1)
    means = sums / number.clamp_min(1)[:, None]
    return means.reshape(*shape, -1), number.reshape(shape)
