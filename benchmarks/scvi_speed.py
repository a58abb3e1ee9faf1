"""Training throughput of stage 1 beside that of scVI, on the same cells, sizes and core.

    python benchmarks/scvi_speed.py --scvi-python /path/to/env/bin/python [--batch 256]

scvi-tools is no dependency of Weir: give the interpreter of an environment that has it (measured
with 1.4.2). Both train an autoencoder of 2000 genes with one hidden layer of the same width and a
negative-binomial likelihood on the same counts, in turns, a few rounds of epochs each; scVI
through its own `model.train` with its own loader, Weir through its training loop. Building
models and loading data are left out of both. Printed as JSON: cells per second of processor time
and of wall time, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

WARM_EPOCHS, EPOCHS = 1, 2


def peer(folder: Path, hidden: int, batch: int, threads: int) -> dict[str, float]:
    """Run inside the other environment: scVI's cells per second."""
    import logging
    import warnings

    import anndata
    import scvi
    import torch
    from scipy import sparse

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(threads)
    scvi.settings.verbosity = 40
    counts = sparse.load_npz(folder / "counts.npz")
    cells = anndata.AnnData(counts)
    cells.obs["batch"] = (folder / "batch.txt").read_text().split()
    scvi.model.SCVI.setup_anndata(cells, batch_key="batch")
    model = scvi.model.SCVI(
        cells, n_hidden=hidden, n_latent=20, n_layers=1, gene_likelihood="nb", dispersion="gene"
    )

    def epochs(count: int) -> tuple[float, float]:
        begin = time.perf_counter(), time.process_time()
        model.train(
            max_epochs=count,
            accelerator="cpu",
            devices=1,
            batch_size=batch,
            train_size=1.0,
            enable_progress_bar=False,
            logger=False,
        )
        return time.perf_counter() - begin[0], time.process_time() - begin[1]

    # The difference of two trainings leaves out what each costs once.
    epochs(1)
    short, long = epochs(WARM_EPOCHS), epochs(WARM_EPOCHS + EPOCHS)
    done = EPOCHS * cells.n_obs
    return {
        "cells_per_second": done / (long[0] - short[0]),
        "cells_per_processor_second": done / (long[1] - short[1]),
        "version": scvi.__version__,
    }


def ours(folder: Path, hidden: int, batch: int, threads: int) -> dict[str, float]:
    """Weir's cells per second."""
    import perturb_speed
    import torch

    torch.set_num_threads(threads)
    perturb_speed.HIDDEN = hidden
    found = perturb_speed.stage1(threads, batch, 2 * perturb_speed.CELLS // batch)
    return {k: v for k, v in found.items() if k.startswith("cells")}


def write(folder: Path) -> None:
    """The cells of `perturb_speed` as files that the other environment can read."""
    import perturb_speed
    import torch
    from scipy import sparse

    cells = perturb_speed.made_up_cells()
    counts = cells.batch(torch.arange(len(cells))).counts.numpy()
    sparse.save_npz(folder / "counts.npz", sparse.csr_matrix(counts))
    (folder / "batch.txt").write_text("\n".join(str(code) for code in cells.batch_code.tolist()))


def main() -> None:
    """Measure both in turns and print, or be the peer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scvi-python", help="interpreter of an environment with scvi-tools")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.hidden, options.batch, options.threads
    if options.peer:
        print(json.dumps(peer(options.peer, *sizes)))
        return
    if not options.scvi_python:
        parser.error("give --scvi-python, the interpreter of an environment with scvi-tools")
    rows: list[tuple[dict, dict]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        for _ in range(options.rounds):
            command = [options.scvi_python, __file__, "--peer", name]
            for option, value in zip(("--hidden", "--batch", "--threads"), sizes, strict=True):
                command += [option, str(value)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append((ours(folder, *sizes), json.loads(answer.strip().splitlines()[-1])))
    report: dict[str, object] = dict(zip(("hidden", "batch", "threads"), sizes, strict=True))
    report["scvi"] = rows[0][1]["version"]
    for key in ("cells_per_second", "cells_per_processor_second"):
        pair = [statistics.median(row[side][key] for row in rows) for side in (0, 1)]
        ratio = statistics.median(row[0][key] / row[1][key] for row in rows)
        report[key] = {"weir": round(pair[0]), "scvi": round(pair[1]), "ratio": round(ratio, 2)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
