"""Made-up cells: a processed folder, and the way from a raw file to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from weir.artifacts.raw_folder import RawFolder
from weir.tasks.perturb.data.load import PerturbData, load
from weir.tasks.perturb.data.pca import Pca
from weir.tasks.perturb.data.schema import CONTROL, PARTS, Condition, Context, LibraryLaw, Schema
from weir.tasks.perturb.preprocessing.preprocess import CountsWriter, describe_folder, preprocess
from weir.tasks.perturb.settings.dataset import PerturbDataset

GENES = 40
CONDITIONS = (
    Condition("control"),
    Condition("A 0.1", {"A": 0.1}),
    Condition("A 1", {"A": 1.0}),
    Condition("B 1", {"B": 1.0}),
    Condition("A+B 1", {"A": 1.0, "B": 1.0}),
)
SHARES = (0.36, 0.16, 0.16, 0.16, 0.16)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A processed folder: 320 cells x 40 genes, 2 cell types x 2 batches, 5 conditions.

    Condition `A+B 1` of the context `T, two` is held out. Perturbation A raises genes 0 to 4 in
    proportion to log(1 + dose / 0.1), B lowers genes 5 to 9 to a third; T cells have twice as much
    of genes 10 to 14, batch `two` 1.5 times as much of genes 15 to 19. Libraries are log-normal
    around 400.
    """
    folder = tmp_path_factory.mktemp("processed") / "tiny"
    folder.mkdir()
    random = np.random.default_rng(0)
    cells = 320
    cell_type = np.arange(cells) % 2 + 1
    batch = np.arange(cells) // 2 % 2 + 1
    condition = np.repeat(np.arange(5), [round(s * cells / 4) * 4 for s in SHARES])[:cells]
    context = (cell_type - 1) * 2 + batch - 1
    rate = np.tile(random.uniform(0.5, 2, GENES) / GENES, (cells, 1))
    dose = np.array([[c.doses.get(p, 0.0) for p in "AB"] for c in CONDITIONS])[condition]
    rate[:, 0:5] *= 1 + 2 * np.log1p(dose[:, :1] / 0.1)
    rate[:, 5:10] *= np.where(dose[:, 1:] > 0, 1 / 3, 1)
    rate[cell_type == 2, 10:15] *= 2
    rate[batch == 2, 15:20] *= 1.5
    depth = 400 * np.exp(0.3 * random.standard_normal((cells, 1)))
    rate = rate / rate.sum(1, keepdims=True) * depth
    counts = random.poisson(random.gamma(5.0, rate / 5.0))
    part = np.where((condition == 4) & (context == 3), 2, random.random(cells) < 0.15)
    library = counts.sum(1)
    train = part == 0
    scale = float(np.median(library[train]))
    expression = np.log1p(counts / library[:, None] * scale)
    centre = expression[train].mean(0)
    axes = np.linalg.svd(expression[train] - centre, full_matrices=False)[2][:10]
    with CountsWriter(folder, GENES, int(counts.max())) as writer:
        for piece in np.array_split(np.arange(cells), 3):
            writer.append(sparse.csr_matrix(counts[piece]))
    table = pd.DataFrame(
        {
            "name": [f"cell{i}" for i in range(cells)],
            "part": part.astype("int64"),
            "batch": batch,
            "cell_type": cell_type,
            "condition": condition,
            "context": context,
            "library": library.astype("float32"),
        }
    )
    log = np.log(library[train])
    schema = Schema(
        task="perturb",
        genes=tuple(f"gene{i}" for i in range(GENES)),
        perturbations=("A", "B"),
        conditions=CONDITIONS,
        cell_types=("B", "T"),
        batches=("one", "two"),
        contexts=tuple(
            Context(f"{kind}, {batch}", kind, batch) for kind in "BT" for batch in ("one", "two")
        ),
        niche=0,
        dose_scale=tuple(float(np.median(dose[train & (dose[:, i] > 0), i])) for i in range(2)),
        scale=scale,
        library=LibraryLaw(float(log.mean()), float(log.std())),
        fold=None,
        simulated=False,
        cells={name: int((part == i).sum()) for i, name in enumerate(PARTS)},
        repairs=(),
        source_sha256="0" * 64,
        digest="",
    )
    assert CONDITIONS[CONTROL].doses == {}
    pca = Pca(torch.from_numpy(centre).float(), torch.from_numpy(axes).float())
    describe_folder(folder, table, np.zeros((cells, 0)), pca, schema)
    return folder


@pytest.fixture(scope="session")
def tiny_perturb(tiny_folder: Path) -> PerturbData:
    """The same, loaded."""
    return load(tiny_folder)


SMALL: dict[str, Any] = {
    "task": "perturb",
    "source": {"path": "cells.h5ad", "sha256": "0" * 64},
    "obs": {"cell_type": "type", "batch": "donor"},
    "components": 5,
}


@pytest.fixture
def cells() -> anndata.AnnData:
    """240 cells x 30 genes, 2 types x 2 donors x (control, A, B, A+B) of 15 cells each."""
    random = np.random.default_rng(1)
    counts = random.poisson(random.uniform(0.5, 4, 30), (240, 30))
    number = np.arange(240)
    obs = pd.DataFrame(
        {
            "perturbation": np.array(["control", "A", "B", "A+B"])[number // 60],
            "type": np.array(["T", "B"])[number % 2],
            "donor": number // 2 % 2 + 101,
        },
        index=[f"c{i}" for i in number],
    )
    var = pd.DataFrame({"symbol": [f"s{i}" for i in range(30)]}, index=[f"g{i}" for i in range(30)])
    return anndata.AnnData(sparse.csr_matrix(counts.astype("float32")), obs, var)


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., PerturbData]:
    """Write a raw file, preprocess it with some settings, and load the result."""

    def run(raw: anndata.AnnData | bytes, **settings: Any) -> PerturbData:
        folder, output = tmp_path / "raw", tmp_path / "processed"
        folder.mkdir(exist_ok=True)
        output.mkdir(exist_ok=True)
        if isinstance(raw, bytes):
            (folder / "cells.h5ad").write_bytes(raw)
        else:
            raw.copy().write_h5ad(folder / "cells.h5ad")
        RawFolder.record(folder, "a test", ["cells.h5ad"])
        obs = SMALL["obs"] | settings.pop("obs", {})
        preprocess(PerturbDataset.model_validate(SMALL | settings | {"obs": obs}), folder, output)
        return load(output)

    return run
