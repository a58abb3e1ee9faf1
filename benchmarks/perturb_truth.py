"""What the quickstart's models of perturbed cells recover of the simulator's law.

    make run && python benchmarks/perturb_truth.py

Prints, for the flow that edits and the one that makes new cells:
- do(no perturbation): an edit gives back the very counts; new cells are compared with control cells
  by a permutation test of the energy distance, in every cell type;
- dose response: rank correlation of dose and mean shift along the true one, over nine doses;
- interaction: correlation over genes of E[AB] - E[A] - E[B] + E[none], predicted and exact, beside
  the same for two halves of the exact twins.
All in the held-out cell type, whose perturbed cells no model has seen.
"""

from __future__ import annotations

from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor

from weir.metrics.energy_distance import energy_distance
from weir.metrics.perturbation import correlation
from weir.stages.restore import restore
from weir.tasks.perturb.cells import CellSet
from weir.tasks.perturb.data import PerturbData, load
from weir.tasks.perturb.expression import log_normalise
from weir.tasks.perturb.law import Law

DATA = Path("data/processed/cells")
MODELS = {
    "edit": "results/stage2/cells-flow-s0",
    "one-step edit": "results/distill/cells-onestep-s0",
    "population": "results/stage2/cells-noise-s0",
}
STEPS = {"edit": 10, "one-step edit": 1, "population": 10}
PERMUTATIONS = 200


def controls(data: PerturbData, context: int) -> CellSet:
    """All control cells of a context."""
    return data.cells((data.table.condition == 0) & (data.table.context == context))


def generated(name: str, model: torch.nn.Module, cells: CellSet, doses: Tensor) -> Tensor:
    """Log-normalised expression `[cell, gene]` of a cell per source, and its counts."""
    sources = cells.batch(torch.arange(len(cells)))
    target = doses.expand(len(cells), -1)
    generator = torch.Generator().manual_seed(0)
    return model.respond(sources, target, steps=STEPS[name], generator=generator)


def permutation_test(x: Tensor, y: Tensor) -> float:
    """Share of relabellings whose energy distance is at least that of the two samples."""
    both, count = torch.cat([x, y]), len(x)
    generator = torch.Generator().manual_seed(0)
    found = float(energy_distance(x, y))
    beaten = 0
    for _ in range(PERMUTATIONS):
        order = torch.randperm(len(both), generator=generator)
        beaten += float(energy_distance(both[order[:count]], both[order[count:]])) >= found
    return (beaten + 1) / (PERMUTATIONS + 1)


def main() -> None:
    """Print the three comparisons."""
    data, law = load(DATA), Law.load(DATA)
    schema = data.schema
    held_out = [context.name for context in schema.contexts].index(schema.fold)
    cells = controls(data, held_out)
    none = torch.zeros(len(schema.perturbations))
    strong = torch.full_like(none, 10.0)

    def exact(doses: Tensor, rows: Tensor = cells.rows) -> Tensor:
        counts = law.twins(rows, doses.expand(len(rows), -1))
        return log_normalise(counts, counts.sum(1).clamp(min=1), schema.scale).double().mean(0)

    def interaction(mean: dict[str, Tensor]) -> Tensor:
        return mean["AB"] - mean["A"] - mean["B"] + mean["none"]

    wanted = {"none": none, "A": strong.clone(), "B": strong.clone(), "AB": strong}
    wanted["A"][1] = wanted["B"][0] = 0
    truth = {key: exact(doses) for key, doses in wanted.items()}
    halves = [{k: exact(d, cells.rows[part::2]) for k, d in wanted.items()} for part in (0, 1)]
    between = float(correlation(interaction(halves[0]), interaction(halves[1])))
    print(f"interaction, one half of the twins against the other: r = {between:.2f}")
    for name, folder in MODELS.items():
        model = restore(Path(folder))
        print(name)
        for number, context in enumerate(schema.contexts):
            own = controls(data, number)
            made = generated(name, model, own, none)
            before = own.batch(torch.arange(len(own)))
            if name != "population":
                changed = int((made.counts != before.counts).sum())
                print(f"  do(nothing), {context.name}: {changed} counts changed")
                continue
            real = log_normalise(before.counts, before.library, schema.scale)
            p = permutation_test(data.pca.project(made.expression), data.pca.project(real))
            print(f"  do(nothing), {context.name}: p = {p:.3f} for equal laws")
        for number, perturbation in enumerate(schema.perturbations):
            direction = truth[perturbation] - truth["none"]
            doses = torch.logspace(-1, 2, 9)
            along = []
            for dose in doses:
                target = none.clone()
                target[number] = dose
                mean = generated(name, model, cells, target).expression.double().mean(0)
                along.append(float((mean - truth["none"]) @ direction / direction.norm()))
            order = spearmanr(doses, along).statistic
            print(f"  dose response of {perturbation}: rank correlation {order:.2f}")
        found = {
            key: generated(name, model, cells, doses).expression.double().mean(0)
            for key, doses in wanted.items()
        }
        r = float(correlation(interaction(found), interaction(truth)))
        size = float(interaction(found).norm() / interaction(truth).norm())
        print(f"  interaction of A and B: r = {r:.2f}, size {size:.2f} of the true one")


if __name__ == "__main__":
    main()
