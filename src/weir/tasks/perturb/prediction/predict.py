"""Cells under a perturbation that need not have been measured, for `weir predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.errors import UserError, suggest
from weir.files import whole_output
from weir.tasks.perturb.baselines.ceilings import Ceiling
from weir.tasks.perturb.evaluation.generation import generate
from weir.tasks.perturb.evaluation.tables import Export
from weir.tasks.perturb.flow.responder import estimand_of

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import CellSet
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.data.schema import Schema


@torch.no_grad()
def predict(
    model: nn.Module,
    data: PerturbData,
    output: Path,
    *,
    name: str,
    perturb: str,
    context: str | None = None,
    cells: int = 1000,
    estimand: str | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> str:
    """Write generated cells as `.h5ad`; returns what was done, in a line.

    Args:
        model: a flow, a student or a baseline, in evaluation mode.
        data: that it was trained on, whose control cells are the sources.
        output: the file to write.
        name: of the model, for the file.
        perturb: `A`, `A=0.5` or `A=10+B=1`: perturbations with their doses.
        context: name of a context; None takes the control cells of all.
        cells: number of cells to make.
        estimand: see `Responder.respond`.
        steps: see `Responder.respond`.
        seed: of the cells.

    Raises:
        UserError: unknown perturbation or context, no dose where one is needed, or a model that
            makes no cells.
    """
    answers(model, name)
    target = doses_of(perturb, data.schema)
    controls = sources(data, context)
    generator = torch.Generator(controls.rows.device).manual_seed(seed)
    made = generate(
        model,
        controls,
        target,
        cells,
        generator,
        steps=steps,
        estimand=estimand,
        name=perturb,
    )
    kind = estimand_of(model, estimand)
    about = {"model": name, "estimand": kind, "seed": seed, "dataset": data.name}
    export = Export(data, 1, about)
    export.add(perturb, context or "all", made, target)
    with whole_output(output, output.name) as folder:
        export.write(folder / output.name)
    return f"{output}: {len(made.rows)} cells under {perturb}, estimand {kind}"


def answers(model: nn.Module, name: str) -> None:
    """Check that a model makes cells from control cells alone.

    Raises:
        UserError: it is a first stage, or a ceiling.
    """
    if not hasattr(model, "respond") or isinstance(model, Ceiling):
        raise UserError(
            f"{name} makes no cells from others; name a stage2, joint or distill folder, or a "
            "baseline that is no ceiling"
        )


def doses_of(text: str, schema: Schema) -> Tensor:
    """Doses `[perturbation]` of `A`, `A=0.5` or `A=10+B=1`.

    Raises:
        UserError: see `predict`.
    """
    target = torch.zeros(len(schema.perturbations))
    for part in text.split("+"):
        name, _, amount = (word.strip() for word in part.partition("="))
        if name not in schema.perturbations:
            raise UserError(
                f"--perturb {text}: there is no perturbation {name!r}; "
                f"{suggest(name, schema.perturbations)}"
            )
        number = schema.perturbations.index(name)
        known = sorted({c.doses[name] for c in schema.conditions if name in c.doses})
        if not amount and known != [1.0]:
            listed = ", ".join(f"{dose:g}" for dose in known)
            raise UserError(f"--perturb {text}: write {name}=DOSE; measured doses: {listed}")
        try:
            dose = float(amount or 1)
        except ValueError:
            dose = -1.0
        if not 0 <= dose < float("inf"):
            raise UserError(f"--perturb {text}: {amount!r} is no dose; write a number from 0 on")
        target[number] = dose
    return target


def sources(data: PerturbData, context: str | None) -> CellSet:
    """Control cells that were not held out, of one context or of all.

    Raises:
        UserError: there is no such context, or it has no control cell.
    """
    names = [found.name for found in data.schema.contexts]
    if context is not None and context not in names:
        raise UserError(
            f"--context {context}: the data has no such context; {suggest(context, names)}"
        )
    table = data.table
    mask = table.condition == 0
    if context is not None:
        mask &= table.context == names.index(context)
    if not mask.any():
        raise UserError(f"--context {context}: it has no control cell to start from")
    return data.cells(mask)
