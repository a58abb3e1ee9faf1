"""A user's own cells under a perturbation, for `weir predict --cells`.

Their context may be one that the training data does not have. The anchor of a flow (see
`flow/anchor.py`) holds, for each context, the level of its control cells and the ridge regression's
opinion of its perturbed ones. Neither asks for perturbed cells of the context, so that a new
donor's control cells are enough. The regression itself is not kept, but what it said of the known
contexts is, and that determines it: apart from `slope` times the control's level it is affine, with
a gradient in the span of the known contexts' profiles.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from weir.errors import UserError, suggest
from weir.flows.solvers import require_finite
from weir.progress import Progress
from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.data.schema import Schema
from weir.tasks.perturb.flow.responder import Generated, estimand_of
from weir.tasks.perturb.prediction.cells_file import CellsFile
from weir.tasks.perturb.prediction.new_cells import NewCells, open_new_cells
from weir.tasks.perturb.prediction.predict import answers, doses_of

if TYPE_CHECKING:
    from weir.tasks.perturb.flow.anchor import GroupAnchor
    from weir.tasks.perturb.flow.cell_flow import CellFlow
    from weir.tasks.perturb.prediction.request import Request


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


@torch.no_grad()
def predict_cells(
    model: nn.Module,
    schema: Schema,
    file: Path,
    output: Path,
    *,
    request: Request,
    name: str,
    perturb: str,
    context: str | None = None,
    estimand: str | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> tuple[str, ...]:
    """Write one generated cell for each cell of a file; what the model was trained on is not asked.

    The file is read in pieces; what is generated of a piece is written before the next is read.

    Args:
        model: a flow, a student or a baseline, in evaluation mode, on the CPU.
        schema: of the data that it was trained on.
        file: an `.h5ad` with raw counts.
        output: the file to write; it has the obs of the cells, and columns `weir_...`.
        request: what the user says of the file.
        name: of the model, for the file.
        perturb: see `predict.predict`.
        context: takes the cells of one context.
        estimand: see `Responder.respond`.
        steps: see `Responder.respond`.
        seed: of the cells.

    Returns:
        what was done and should be known, a line each; the last is of the output.

    Raises:
        UserError: the question or the file makes no sense; one line.
    """
    answers(model, name)
    target = doses_of(perturb, schema)
    kind = estimand_of(model, estimand)
    with open_new_cells(file, schema, request) as cells:
        cells = _of_context(cells, context)
        notes = list(cells.notes)
        learnt = _learn_contexts(model, cells, notes)
        about = {"model": name, "estimand": kind, "seed": seed, "perturb": perturb}
        obs = _obs(cells, about)
        about |= {"cells": file.name, "sha256": cells.sha256, "scale": schema.scale}
        generator = torch.Generator().manual_seed(seed)
        label = f"predict {perturb}"
        progress = Progress(label, len(cells), noun="cell", stream=sys.stderr)
        with CellsFile(output, obs, schema.genes, about) as written:
            for items, batch in cells.pieces():
                parts = []
                for which, some in _by_context(cells, items):
                    if getattr(model, "anchor", None) is not None:
                        enter(model, learnt.get(which))
                    parts.append(
                        (
                            some,
                            model.respond(
                                _take(batch, some),
                                target.expand(len(some), -1),
                                steps=steps,
                                estimand=estimand,
                                generator=generator,
                            ),
                        )
                    )
                written.add(_in_order(parts))
                progress.update(items.stop)
        progress.close()
    return (*notes, f"{output}: {len(cells)} cells under {perturb}, estimand {kind}")


def _of_context(cells: NewCells, context: str | None) -> NewCells:
    if context is None:
        return cells
    mask = cells.context == context
    if not mask.any():
        raise UserError(
            f"--context {context}: {cells.raw.file} has no cell of that context; "
            f"{suggest(context, sorted(set(cells.context)))}"
        )
    return cells.keep(mask)


def _learn_contexts(model: nn.Module, cells: NewCells, notes: list[str]) -> dict[str, NewContext]:
    """Contexts that the model does not know and that have cells enough, if it needs their means."""
    new = cells.place == 0
    if getattr(model, "anchor", None) is None or not new.any():
        return {}
    names, number, size = np.unique(
        cells.context[new].astype(str), return_inverse=True, return_counts=True
    )
    if (size < LEAST).any():
        notes.append(
            f"{cells.raw.file}: new contexts with less than {LEAST} cells are not anchored: "
            f"{', '.join(map(repr, names[size < LEAST][:8].tolist()))}"
        )
    cells = cells.keep(new)
    # Of each context as many as the model has of a known one, drawn at random.
    order = np.random.default_rng(0).permutation(len(cells))
    rank = np.empty(len(cells), "int64")
    rank[order] = pd.Series(number[order]).groupby(number[order]).cumcount()
    kept = rank < model.reference.counts.shape[1]
    shares = torch.zeros(len(names), len(cells.columns), dtype=torch.float64)
    some: list[Cells] = []
    for items, batch in cells.pieces():
        group = torch.from_numpy(number[items])
        shares.index_add_(0, group, (batch.counts / batch.library[:, None]).double())
        some.append(_take(batch, torch.from_numpy(np.flatnonzero(kept[items]))))
    controls = Cells(*(torch.cat(field) for field in zip(*some, strict=True)))
    means = (shares / torch.from_numpy(size)[:, None]).float()
    return {
        str(names[k]): learn(
            model, means[k], _take(controls, torch.from_numpy(np.flatnonzero(number[kept] == k)))
        )
        for k in np.flatnonzero(size >= LEAST)
    }


def _obs(cells: NewCells, about: dict[str, Any]) -> pd.DataFrame:
    """The cells' own rows of obs, and what was asked of them."""
    obs = cells.raw.obs.iloc[cells.rows].copy()
    obs["weir_context"] = pd.Categorical(cells.context.astype(str))
    for key, value in about.items():
        obs[f"weir_{key}"] = pd.Categorical([value] * len(obs))
    return obs


def _by_context(cells: NewCells, items: slice) -> list[tuple[str, Tensor]]:
    """Contexts in a piece, and the numbers in it of their cells."""
    names = cells.context[items]
    return [(name, torch.from_numpy(np.flatnonzero(names == name))) for name in sorted(set(names))]


def _take(cells: Cells, items: Tensor) -> Cells:
    return Cells(*(field[items] for field in cells))


def _in_order(parts: list[tuple[Tensor, Generated]]) -> Generated:
    """The answers to the contexts of a piece, in the order of its cells."""
    order = torch.cat([some for some, _ in parts]).argsort()
    expression = torch.cat([made.expression for _, made in parts])[order]
    require_finite(expression, "generated cell", "after the model")
    counts = [made.counts for _, made in parts if made.counts is not None]
    return Generated(expression, torch.cat(counts)[order] if len(counts) == len(parts) else None)
