"""Cells per second of the perturbation task's parts, on made-up cells.

    python benchmarks/perturb_speed.py [stage1 flow ...] [--threads 1 2] [--batch 256 512]

Cells have 2000 genes of which four in five are not seen, as in real data; networks are 512 wide.
`stage1` is a whole step of the training loop: gathering the batch from sparse counts, losses,
gradients, clipping and AdamW; beside it stands the time of its bare matrix products, so that the
share they take can be compared across machines. `flow` is a step on latents, and the others
generate cells. Times are medians; `processor` leaves out what others take of a busy machine.
Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from weir.settings.training import Training
from weir.tasks.perturb.data.cells import CellSet, CellTable, SparseCounts
from weir.tasks.perturb.flow.cell_flow import CellFlow
from weir.tasks.perturb.flow.context import Vocabulary
from weir.tasks.perturb.flow.loss import Stage2Objective
from weir.tasks.perturb.flow.stage2 import fit
from weir.tasks.perturb.representation.nb_draws import nb_draw
from weir.tasks.perturb.representation.nb_vae import NBVAE
from weir.tasks.perturb.representation.stage1 import objective, prepare
from weir.tasks.perturb.settings.models import Fields, PerturbStage1
from weir.training.devices import open_fabric
from weir.training.stepper import Stepper

GENES, HIDDEN, CELLS = 2000, 512, 8192
BATCHES, CELL_TYPES, PERTURBATIONS = 4, 5, 3


def made_up_cells(count: int = CELLS, genes: int = GENES, seed: int = 0) -> CellSet:
    """Cells with about 80 % zeros, a few batches, types and perturbations."""
    random = np.random.default_rng(seed)
    share = random.lognormal(sigma=1.6, size=genes)
    batch, kind, condition = (
        random.integers(0, n, count) for n in (BATCHES, CELL_TYPES, PERTURBATIONS + 1)
    )
    effects = [random.normal(scale=0.4, size=(n, genes)) for n in (BATCHES, CELL_TYPES, 4)]
    rate = share * np.exp(effects[0][batch] + effects[1][kind] + effects[2][condition])
    library = random.lognormal(np.log(0.55 * genes), 0.5, (count, 1))
    rate *= library / rate.sum(1, keepdims=True)
    counts = random.poisson(random.gamma(2.0, rate / 2.0))
    row, gene = counts.nonzero()
    data = counts[row, gene].astype("uint16")
    starts = np.concatenate([[0], np.bincount(row, minlength=count).cumsum()])
    doses = np.concatenate([np.zeros((1, PERTURBATIONS)), np.eye(PERTURBATIONS)])
    code = {"batch": batch + 1, "kind": kind + 1, "condition": condition, "context": kind}
    tensors = {name: torch.from_numpy(values.astype("int64")) for name, values in code.items()}
    table = CellTable(
        SparseCounts.of(data, gene.astype("int16"), starts, genes),
        torch.from_numpy(counts.sum(1).astype("float32")),
        tensors["batch"],
        tensors["kind"],
        tensors["condition"],
        tensors["context"],
        torch.zeros(count, 0),
        torch.from_numpy(doses.astype("float32")),
    )
    return CellSet(table, torch.arange(count))


def autoencoder(cells: CellSet, **shape: object) -> tuple[NBVAE, PerturbStage1]:
    """A prepared model of the benchmark's width and its settings."""
    config = PerturbStage1.model_validate(
        {"dataset": "cells", "network": {"hidden": HIDDEN, **shape}}
    )
    torch.manual_seed(0)
    model = NBVAE(
        cells.table.counts.genes,
        BATCHES,
        1000.0,
        cell_types=CELL_TYPES,
        perturbations=PERTURBATIONS,
        **config.network.model_dump(),
    )
    prepare(model, config, cells)
    return model, config


def timed(call: Callable[[int], object], repeats: int, warm: int = 3) -> dict[str, float]:
    """Median milliseconds of a call, on the wall and of the processor."""
    wall, processor = [], []
    for number in range(warm + repeats):
        begin = time.perf_counter(), time.process_time()
        call(number)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - begin[0])
        processor.append(time.process_time() - begin[1])
    return {
        "wall_ms": 1e3 * statistics.median(wall[warm:]),
        "processor_ms": 1e3 * statistics.median(processor[warm:]),
    }


def rates(found: dict[str, float], cells: int, threads: int) -> dict[str, float]:
    """The same with cells per second, of all threads and per busy core."""
    return {
        **{name: round(value, 2) for name, value in found.items()},
        "cells_per_second": round(1e3 * cells / found["wall_ms"]),
        "cells_per_processor_second": round(1e3 * cells / found["processor_ms"]),
    }


def stage1(threads: int, batch: int, repeats: int) -> dict[str, float]:
    """A step of stage-1 training."""
    cells = made_up_cells()
    model, config = autoencoder(cells)
    settings = Training(steps=10**6, batch_size=batch)
    stepper = Stepper(objective(config, model), cells, settings, 0, open_fabric("fp32"))
    stepper.train_mode()

    def step(number: int) -> None:
        stepper.step(number)
        list(stepper.fetch())

    found = timed(step, repeats)
    products = timed(lambda _: bare_products(batch, stepper.device), repeats)
    share = products["processor_ms"] / found["processor_ms"]
    return {**rates(found, batch, threads), "share_of_matrix_products": round(share, 3)}


def bare_products(batch: int, device: torch.device) -> None:
    """The products between hidden layers and genes in a step: forward, by weights, by inputs."""
    wide, narrow, weight = _operands(batch, device)
    for _ in range(2):
        torch.mm(wide, weight)  # forward of the encoder; by inputs of the decoder
        torch.mm(narrow.T, wide)  # by weights of both
    torch.mm(narrow, weight.T)  # forward of the decoder


_cache: dict[object, tuple[Tensor, Tensor, Tensor]] = {}


def _operands(batch: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (batch, GENES), (batch, HIDDEN), (GENES, HIDDEN)
    if (batch, device) not in _cache:
        _cache[batch, device] = tuple(torch.randn(s, device=device) for s in shapes)  # type: ignore
    return _cache[batch, device]


def draw(threads: int, batch: int, repeats: int) -> dict[str, float]:
    """Counts drawn from the means of cells."""
    cells = made_up_cells(batch)
    model, _ = autoencoder(cells)
    with torch.no_grad():
        batch_cells = cells.batch(torch.arange(batch))
        posterior = model.encode(batch_cells)
        rate = model.rate(
            posterior.mean, posterior.tech_mean, batch_cells.batch, batch_cells.library
        )
        theta = model.theta
        return rates(timed(lambda _: nb_draw(rate, theta), repeats), batch, threads)


def editor(cells: CellSet) -> CellFlow:
    """A prepared flow from control cells, of the settings' default shape."""
    vae, _ = autoencoder(cells)
    kinds = torch.arange(CELL_TYPES + 1).expand(BATCHES + 1, -1)
    vocabulary = Vocabulary(
        BATCHES,
        CELL_TYPES,
        0,
        cells.table.condition_doses,
        torch.ones(PERTURBATIONS),
        kinds.clone(),
        (7.0, 0.5),
    )
    model = CellFlow(vae, vocabulary, **Fields().model_dump())
    fit(model, cells)
    # An untrained model moves no cell, which would flatter it; so do means by a fifth or so.
    with torch.no_grad():
        vae.output.weight.mul_(8)
        for parameter in model.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def flow(threads: int, batch: int, repeats: int) -> dict[str, float]:
    """A step of flow training on latents that were computed once."""
    cells = made_up_cells()
    model = editor(cells)
    settings = Training(steps=10**6, batch_size=batch)
    objective = Stage2Objective(model)
    stepper = Stepper(objective, model.items(cells), settings, 0, open_fabric("fp32"))
    stepper.train_mode()

    def step(number: int) -> None:
        stepper.step(number)
        list(stepper.fetch())

    return rates(timed(step, repeats), batch, threads)


def generation(steps: int, *, keep_noise: bool) -> Callable[[int, int, int], dict[str, float]]:
    """Cells edited in Euler steps, with their count noise carried over or drawn again."""

    def part(threads: int, batch: int, repeats: int) -> dict[str, float]:
        cells = made_up_cells(2048)
        model = editor(cells).eval()
        model.keep_noise = keep_noise
        controls = cells.subset(cells.condition == 0)
        sources = controls.batch(torch.arange(batch) % len(controls))
        target = cells.table.condition_doses[1].expand(batch, -1)

        def make(_: int) -> object:
            return model.respond(sources, target, steps=steps, solver="euler")

        return rates(timed(make, max(3, repeats // 5), warm=1), batch, threads)

    return part


PARTS: dict[str, Callable[[int, int, int], dict[str, float]]] = {
    "stage1": stage1,
    "draw": draw,
    "flow": flow,
    "edit_50_steps": generation(50, keep_noise=True),
    "edit_20_steps": generation(20, keep_noise=True),
    "edit_1_step": generation(1, keep_noise=True),
    "edit_1_step_fresh_noise": generation(1, keep_noise=False),
    "edit_50_steps_fresh_noise": generation(50, keep_noise=False),
}
"""Each is called with threads, batch size and repeats."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    report: dict[str, object] = {"genes": GENES, "hidden": HIDDEN, "cores": os.cpu_count()}
    for part in options.parts:
        for threads in options.threads:
            torch.set_num_threads(threads)
            for batch in options.batch:
                key = f"{part}, {threads} threads, batch {batch}"
                report[key] = PARTS[part](threads, batch, options.repeats)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
