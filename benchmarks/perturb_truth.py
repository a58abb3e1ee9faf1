"""What the quickstart's models of perturbed cells recover of the simulator's law.

    make run && python benchmarks/perturb_truth.py

Prints, for the flow that edits and the one that makes new cells:
- do(no perturbation): an edit gives back the very counts; new cells are compared with control cells
  by a permutation test of the energy distance, in every cell type;
- dose response: rank correlation of dose and mean shift along the true one, over nine doses;
- interaction: correlation over genes of E[AB] - E[A] - E[B] + E[none], predicted and exact, beside
  the same for two halves of the exact twins.
All in the held-out cell type, whose perturbed cells no model has seen. Then, on a simulated tissue
where the place decides how strongly a cell responds, edits of flows trained with and without the
niche (no `make run` needed: `--only places`): correlation over cells of the response with the exact
one, and the root mean squared error against the exact twins in units of that of no change.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor

from weir.artifacts.model_folder import ModelCard
from weir.artifacts.raw_folder import RawFolder
from weir.metrics.distances import energy_distance
from weir.metrics.perturbation import correlation
from weir.settings.training import Training
from weir.stages.restore import build_model, restore
from weir.tasks.perturb.data.cells import CellSet
from weir.tasks.perturb.data.load import PerturbData, load
from weir.tasks.perturb.flow import stage2
from weir.tasks.perturb.flow.cell_flow import CellFlow
from weir.tasks.perturb.preprocessing.preprocess import preprocess
from weir.tasks.perturb.representation import stage1
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.perturb.settings.models import PerturbStage1, PerturbStage2
from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.law import Law
from weir.tasks.perturb.simulation.simulate import simulate
from weir.training.loop import train

DATA = Path("data/processed/cells")
MODELS = {
    "edit": "results/stage2/cells-flow-s0",
    "one-step edit": "results/distill/cells-onestep-s0",
    "population": "results/stage2/cells-noise-s0",
}
STEPS = {"edit": 10, "one-step edit": 1, "population": 10}
PERMUTATIONS = 200

TISSUE = Simulation(
    cells=4000,
    genes=200,
    cell_types=3,
    batches=1,
    perturbations=1,
    doses=(10.0,),
    combinations=0,
    spatial_response=0.8,
    depth=2000.0,
)
TRAINED = 1000
"""Training steps of either stage on the tissue."""


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


def tissue(folder: Path) -> PerturbData:
    """Simulated cells whose response depends on their place, processed."""
    raw, output = folder / "raw", folder / "tissue"
    raw.mkdir()
    output.mkdir()
    RawFolder.record(raw, "simulator", simulate(TISSUE, raw))
    config = {
        "task": "perturb",
        "source": {"simulator": TISSUE.model_dump()},
        "obs": {"dose": "dose", "cell_type": "cell_type", "spatial": "spatial"},
        "genes": {"highly_variable": None},
    }
    preprocess(PerturbDataset.model_validate(config), raw, output)
    return load(output)


def places(folder: Path) -> None:
    """Print what edits recover of responses that differ from place to place."""
    data = tissue(folder)
    cells, schema = data.split("train"), data.card()
    training = Training(steps=TRAINED, batch_size=256, validate_every=TRAINED, learning_rate=2e-3)
    first = PerturbStage1.model_validate({"dataset": "t", "network": {"hidden": 128, "d_tech": 0}})
    told = first.model_dump(mode="json")
    upstream = ModelCard("stage1", "t", 0, "perturb", "t", told, schema)
    torch.manual_seed(0)
    vae = build_model(upstream)
    stage1.prepare(vae, first, cells)
    train(stage1.objective(first, vae), cells, None, training, seed=0, checkpoints=folder / "vae")
    for name, roles in (("with the niche", ["niche"]), ("without", [])):
        second = PerturbStage2.model_validate({"stage1": "t", "context": {"effect_roles": roles}})
        told = second.model_dump(mode="json")
        card = ModelCard("stage2", "t", 0, "perturb", "t", told, schema, upstream=vars(upstream))
        torch.manual_seed(0)
        model = build_model(card)
        stage2.prepare(model, second, cells, vae.eval())
        objective = stage2.objective(second, model)
        train(objective, model.items(cells), None, training, seed=0, checkpoints=folder / name)
        size, error = single_cells(model.eval(), data)
        print(f"places, {name}: r = {size:.2f} of single cells' responses, error {error:.2f}")


def single_cells(model: CellFlow, data: PerturbData) -> tuple[float, float]:
    """Agreement of control cells' edits with the law: correlation of sizes, and error."""
    law = Law.load(data.folder)
    cells = data.cells(data.table.condition == 0)
    sources = cells.batch(torch.arange(len(cells)))
    doses = torch.full((len(cells), 1), 10.0)
    made = model.respond(sources, doses, generator=torch.Generator().manual_seed(0))

    def expression(counts: Tensor) -> Tensor:
        return log_normalise(counts, counts.sum(1).clamp(min=1), data.schema.scale).double()

    exact = expression(law.rates(cells.rows, doses)) - expression(law.rates(cells.rows, 0 * doses))
    direction = exact.mean(0)
    before, twins = expression(sources.counts), expression(law.twins(cells.rows, doses))
    sizes = torch.stack([(made.expression - before) @ direction, exact @ direction])
    error, still = ((x - twins).square().sum() for x in (made.expression, before))
    return float(torch.corrcoef(sizes)[0, 1]), float((error / still).sqrt())


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["quickstart", "places"])
    only = parser.parse_args().only
    if only != "places":
        quickstart()
    if only != "quickstart":
        with tempfile.TemporaryDirectory() as folder:
            places(Path(folder))


def quickstart() -> None:
    """Print what the quickstart's models recovered."""
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
