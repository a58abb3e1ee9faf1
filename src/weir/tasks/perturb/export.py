"""Generated cells as a file that scanpy reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

if TYPE_CHECKING:
    from weir.tasks.perturb.data import PerturbData
    from weir.tasks.perturb.generation import Made

CELLS = 100_000
"""Cells in a file at most, of every response alike."""


class Export:
    """Collects generated cells, and writes them as `.h5ad`.

    Args:
        data: whose names are used.
        responses: number of responses to come.
        about: what every cell's row and the file state: `model`, `estimand`, `seed`, `dataset`.
    """

    def __init__(self, data: PerturbData, responses: int, about: dict[str, Any]) -> None:
        self.data, self.about = data, about
        self.share = max(1, CELLS // max(responses, 1))
        self._values: list[sparse.csr_matrix] = []
        self._rows: list[pd.DataFrame] = []
        self._counted = True

    def add(self, condition: str, context: str, made: Made, target: Tensor) -> None:
        """Take the generated cells of a response.

        Args:
            condition: its name.
            context: its name.
            made: cells, and those that they were made from.
            target: `[perturbation]`, doses.
        """
        generated = made.cells
        schema, table = self.data.schema, self.data.table
        self._counted = self._counted and generated.counts is not None
        values = generated.expression if generated.counts is None else generated.counts
        cells = slice(0, self.share)
        self._values.append(sparse.csr_matrix(values[cells].cpu().numpy().astype("float32")))
        rows = made.rows[cells]
        present = target.nonzero()[:, 0].tolist()
        doses = [float(target[k]) for k in present]
        frame = pd.DataFrame(
            {
                "perturbation": "+".join(schema.perturbations[k] for k in present),
                # A combination has a dose of each; the text then tells them apart.
                "dose": doses[0] if len(set(doses)) == 1 else np.nan,
                "condition": condition,
                "context": context,
                "cell_type": _names(table.cell_type[rows], schema.cell_types),
                "batch": _names(table.batch[rows], schema.batches),
                "source": self.data.cell_names[rows.cpu().numpy()],
            }
        )
        self._rows.append(frame)

    def write(self, file: Path) -> None:
        """Write the file: counts in X and in layer `counts`, else log-normalised values in X."""
        import anndata  # slow to import, and not needed elsewhere

        schema = self.data.schema
        obs = pd.concat(self._rows, ignore_index=True)
        for name in ("model", "estimand", "seed"):
            obs[name] = self.about[name]
        named = ("perturbation", "condition", "context", "cell_type", "batch", "model", "estimand")
        obs = obs.astype(dict.fromkeys(named, "category"))
        obs.index = pd.Index([f"generated-{k}" for k in range(len(obs))])
        values = sparse.vstack(self._values, format="csr")
        cells = anndata.AnnData(values, obs=obs, var=pd.DataFrame(index=list(schema.genes)))
        if self._counted:
            cells.layers["counts"] = values
        cells.uns["weir"] = {
            **self.about,
            "X": "counts" if self._counted else "log1p of counts at one library",
            "scale": schema.scale,
        }
        cells.write_h5ad(file, compression="lzf")


def _names(codes: Tensor, names: tuple[str, ...]) -> list[str]:
    """Names of codes, of which 0 is unknown."""
    known = ("unknown", *names)
    return [known[code] for code in codes.to(torch.int64).tolist()]
