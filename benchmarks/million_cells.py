"""Time and memory of a large data set: written, preprocessed, loaded, and trained on.

    nice python benchmarks/million_cells.py --cells 100000
    nice python benchmarks/million_cells.py            # one million

Each step runs in a process of its own, as the stages do, so that each prints its own peak memory:
the `.h5ad` written, preprocessed, loaded and iterated; the autoencoder trained for `TRAINED` steps;
the flow prepared (cells encoded, groups' means, pairs by optimal transport) and trained as long.
The aim is one million cells of 2,000 genes in less than 6 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from anndata.io import write_elem

from weir.artifacts.model_folder import ModelCard
from weir.settings.training import Training
from weir.stages.restore import build_model
from weir.tasks.perturb.data.load import PerturbData, load
from weir.tasks.perturb.flow import stage2
from weir.tasks.perturb.preprocessing.preprocess import preprocess
from weir.tasks.perturb.representation import stage1
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.perturb.settings.models import PerturbStage1, PerturbStage2
from weir.training.loop import train
from weir.training.objective import DataSet, Objective
from weir.training.order import Order

PIECE = 20_000
"""Cells written at a time."""

GENES, FILLED = 2000, 0.1
"""Genes, and the share of them that is seen in a cell."""

TRAINED, BATCH = 300, 512
"""Training steps of either stage, and cells of a step."""


def write(folder: Path, cells: int) -> None:
    """Write made-up cells, `FILLED` of whose counts are not zero, and their `source.json`."""
    random = np.random.default_rng(0)
    count = int(GENES * FILLED)
    with h5py.File(folder / "cells.h5ad", "w") as store:
        write_elem(store, "/", {})
        store.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = store.create_group("X")
        matrix.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (cells, GENES)}
        )
        size = cells * count
        data = matrix.create_dataset("data", (size,), "float32", chunks=(1 << 18,))
        indices = matrix.create_dataset("indices", (size,), "int32", chunks=(1 << 18,))
        matrix.create_dataset("indptr", data=np.arange(cells + 1, dtype="int64") * count)
        width = GENES // count
        for start in range(0, cells, PIECE):
            rows = min(PIECE, cells - start)
            place = slice(start * count, (start + rows) * count)
            # One gene of each block of `width`, so that no gene comes twice.
            genes = random.integers(width, size=(rows, count)) + np.arange(count) * width
            data[place] = random.geometric(0.6, rows * count).astype("float32")
            indices[place] = genes.ravel().astype("int32")
        number = np.arange(cells)
        obs = pd.DataFrame(
            {
                "perturbation": pd.Categorical.from_codes(
                    random.integers(51, size=cells), ["control", *(f"p{i}" for i in range(50))]
                ),
                "cell_type": pd.Categorical.from_codes(number % 5, list("abcde")),
                "batch": pd.Categorical.from_codes(number // 5 % 4, list("wxyz")),
            },
            index=[f"cell{i}" for i in number],
        )
        write_elem(store, "obs", obs)
        write_elem(store, "var", pd.DataFrame(index=[f"g{i}" for i in range(GENES)]))
    source = {"origin": "benchmark", "files": [{"name": "cells.h5ad", "sha256": "0" * 64}]}
    (folder / "source.json").write_text(json.dumps(source))


def prepare(folder: Path, cells: int) -> None:
    """Preprocess; print wall time and peak memory."""
    config = PerturbDataset.model_validate(
        {
            "task": "perturb",
            "source": {"path": "cells.h5ad", "sha256": "0" * 64},
            "obs": {"cell_type": "cell_type", "batch": "batch"},
            "held_out": {"design": "leave_group_out", "by": "cell_type", "groups": ["a"]},
        }
    )
    output = folder / "processed"
    output.mkdir()
    started = time.perf_counter()
    preprocess(config, folder, output)
    _report(f"preprocess {cells:,} cells", started)
    processed = sum(file.stat().st_size for file in output.iterdir())
    raw = (folder / "cells.h5ad").stat().st_size
    print(f"raw {raw / 2**30:.2f} GiB, processed {processed / 2**30:.2f} GiB")


def iterate(folder: Path, cells: int) -> None:
    """Load and go through batches; print wall times and peak memory."""
    del cells
    started = time.perf_counter()
    data = load(folder / "processed")
    _report("load", started)
    train = data.split("train")
    order = Order(len(train), 512, seed=0)
    started, busy = time.perf_counter(), time.process_time()
    steps = 200
    for step in range(steps):
        assert torch.isfinite(train.batch(order.items(step)).counts).all()
    seconds = time.process_time() - busy
    _report(f"{steps} batches of 512 ({steps * 512 / seconds:,.0f} cells per CPU s)", started)
    started = time.perf_counter()
    responses = data.responses("test")
    _report(f"{len(responses)} responses", started)


def train_autoencoder(folder: Path, cells: int) -> None:
    """Train stage 1; print wall times, throughput and peak memory."""
    del cells
    data = load(folder / "processed")
    config = PerturbStage1.model_validate({"dataset": "cells", "network": {"hidden": 512}})
    torch.manual_seed(0)
    model = build_model(_card("stage1", config, data))
    started = time.perf_counter()
    stage1.prepare(model, config, data.split("train"))
    _report("stage 1: moments of all training cells", started)
    _train("stage 1", stage1.objective(config, model), data.split("train"), folder)
    torch.save(model.state_dict(), folder / "autoencoder.pt")


def train_flow(folder: Path, cells: int) -> None:
    """Train stage 2 on that autoencoder; print wall times, throughput and peak memory."""
    del cells
    data = load(folder / "processed")
    settings = {"dataset": "cells", "network": {"hidden": 512}}
    upstream = _card("stage1", PerturbStage1.model_validate(settings), data)
    # Pairing in eights of groups of a thousand takes 25 minutes; time grows faster than the size.
    config = PerturbStage2.model_validate(
        {"stage1": "cells", "field": {"width": 512}, "coupling": {"rounds": 2, "size": 256}}
    )
    torch.manual_seed(0)
    model = build_model(_card("stage2", config, data, upstream))
    vae = build_model(upstream)
    vae.load_state_dict(torch.load(folder / "autoencoder.pt", weights_only=True))
    train_cells = data.split("train")
    started = time.perf_counter()
    stage2.prepare(model, config, train_cells, vae.eval())
    _report("stage 2: latents, their units and groups' means", started)
    started = time.perf_counter()
    items = model.items(train_cells)
    _report(f"stage 2: {len(items):,} cells encoded and paired", started)
    _train("stage 2", stage2.objective(config, model), items, folder)


def _card(
    stage: str,
    config: PerturbStage1 | PerturbStage2,
    data: PerturbData,
    upstream: ModelCard | None = None,
) -> ModelCard:
    return ModelCard(
        stage,
        "cells",
        0,
        "perturb",
        "cells",
        config.model_dump(mode="json"),
        data.card(),
        upstream=upstream and vars(upstream),
    )


def _train(name: str, objective: Objective, data: DataSet, folder: Path) -> None:
    settings = Training(steps=TRAINED, batch_size=BATCH, validate_every=TRAINED)
    started, busy = time.perf_counter(), time.process_time()
    train(objective, data, None, settings, seed=0, checkpoints=folder / name, label=name)
    seconds, wall = time.process_time() - busy, time.perf_counter() - started
    rates = f"{TRAINED * BATCH / wall:,.0f} a s, {TRAINED * BATCH / seconds:,.0f} per CPU s"
    _report(f"{name}: {TRAINED} steps of {BATCH} cells ({rates})", started)


STEPS = {
    "write": write,
    "preprocess": prepare,
    "load": iterate,
    "stage1": train_autoencoder,
    "stage2": train_flow,
}


def _report(what: str, started: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    busy = time.process_time()  # since the start of the process; less depends on other load
    wall = time.perf_counter() - started
    print(f"{what}: {wall:.1f} s; so far {busy:.0f} CPU s, peak {peak:.2f} GiB", flush=True)


def main() -> None:
    """Run each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options.folder, options.cells)
        return
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            command = [sys.executable, __file__, "--cells", str(options.cells), "--step", step]
            started = time.perf_counter()
            subprocess.run([*command, "--folder", folder], check=True)
            print(f"({step}: {time.perf_counter() - started:.0f} s in all)", flush=True)


if __name__ == "__main__":
    main()
