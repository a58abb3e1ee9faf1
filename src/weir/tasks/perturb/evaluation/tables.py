"""Tables of an evaluation that the report's figures read, and generated cells as a `.h5ad`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from weir.metrics.perturbation import top
from weir.tasks.perturb.evaluation.scores import spaced

if TYPE_CHECKING:
    from weir.tasks.perturb.data.load import PerturbData
    from weir.tasks.perturb.data.schema import Schema
    from weir.tasks.perturb.evaluation.generation import Made
    from weir.tasks.perturb.evaluation.scores import Question, Summary
    from weir.tasks.perturb.settings.scoring import Embedding


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


VIOLIN_CELLS, VIOLIN_GENES = 120, 6
CURVE_GENES = 200
"""Genes of `curve.csv`: of each response those with the largest true changes."""
CURVE = ("response", "gene", "true_delta", "predicted_delta")
"""Columns of `curve.csv`."""
WHOLE = 100
"""Responses whose cells and genes are listed; of more, evenly spaced ones."""


class Tables:
    """Collects rows of each response.

    Frames:
        * `responses`: response, context, condition, dose (one perturbation's, else null), cells,
          sources and each score;
        * `genes`: response, gene, control_mean, true_mean, predicted_mean, true_variance,
          predicted_variance, de (whether among the truth's most differential);
        * `cells`: response, kind (true, predicted, control), x, y;
        * `violins`: response, gene, kind, value, of the most differential genes.

    Args:
        schema: of the data.
        responses: number of responses to come.
        embedding: plane of `cells`.
        seed: of the embedding.
    """

    def __init__(self, schema: Schema, responses: int, embedding: Embedding, seed: int) -> None:
        self.schema, self.embedding, self.seed = schema, embedding, seed
        self._listed = set(spaced(responses, WHOLE).tolist())
        self._responses: list[dict[str, object]] = []
        self._genes: list[pd.DataFrame] = []
        self._violins: list[pd.DataFrame] = []
        self._cells: list[pd.DataFrame] = []
        self._points: list[Tensor] = []

    def add(self, question: Question, predicted: Summary, scores: dict[str, float]) -> None:
        """Take a response."""
        response, schema = question.response, self.schema
        condition = schema.conditions[response.condition]
        doses = list(condition.doses.values())
        number = len(self._responses)
        self._responses.append(
            {
                "response": response.name,
                "context": schema.contexts[response.context].name,
                "condition": condition.name,
                "dose": doses[0] if len(doses) == 1 else np.nan,
                "cells": question.truth.cells,
                "sources": question.control.cells,
                **scores,
            }
        )
        if number not in self._listed:
            return
        # t is undefined for a gene that is constant in both groups: it does not answer.
        strongest = top(question.true_t.nan_to_num(), question.top).cpu()
        de = np.zeros(len(schema.genes), dtype=bool)
        de[strongest.numpy()] = True
        self._genes.append(
            pd.DataFrame(
                {
                    "response": response.name,
                    "gene": schema.genes,
                    "control_mean": _single(question.control.mean),
                    "true_mean": _single(question.truth.mean),
                    "predicted_mean": _single(predicted.mean),
                    "true_variance": _single(question.truth.variance),
                    "predicted_variance": _single(predicted.variance),
                    "de": de,
                }
            )
        )
        kinds = {"true": question.truth, "predicted": predicted, "control": question.control}
        for kind, cells in kinds.items():
            points = cells.shown_points.cpu()
            self._points.append(points)
            self._cells.append(
                pd.DataFrame({"response": response.name, "kind": kind}, index=range(len(points)))
            )
            few = cells.shown.cpu()[spaced(len(cells.shown), VIOLIN_CELLS)]
            values = few[:, strongest[:VIOLIN_GENES]].numpy()
            genes = [schema.genes[gene] for gene in strongest[:VIOLIN_GENES].tolist()]
            rows = {"response": response.name, "gene": np.repeat(genes, len(few)), "kind": kind}
            self._violins.append(pd.DataFrame({**rows, "value": values.T.ravel()}))

    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        cells = pd.concat(self._cells, ignore_index=True)
        cells[["x", "y"]] = plane(torch.cat(self._points).numpy(), self.embedding, self.seed)
        return {
            "responses": pd.DataFrame(self._responses),
            "genes": pd.concat(self._genes, ignore_index=True),
            "cells": cells,
            "violins": pd.concat(self._violins, ignore_index=True),
        }


def plane(points: np.ndarray, embedding: str, seed: int) -> np.ndarray:
    """`[cell, 2]`: the first two of `points` `[cell, component]`, or their UMAP."""
    if embedding == "umap" and len(points) > 3:
        from umap import UMAP  # compiles for seconds

        neighbours = min(15, len(points) - 1)
        return UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(points)
    two = np.zeros((len(points), 2), dtype="float32")
    two[:, : points.shape[1]] = points[:, :2]
    return two


def curve(genes: pd.DataFrame) -> pd.DataFrame:
    """Predicted against true changes of the strongest genes of each response, for plots.

    Args:
        genes: the table of that name.

    Returns:
        columns `CURVE`.
    """
    control = genes["control_mean"]
    deltas = genes["true_mean"] - control, genes["predicted_mean"] - control
    columns = (genes["response"], genes["gene"], *deltas)
    found = pd.DataFrame(dict(zip(CURVE, columns, strict=True)))
    order = found["true_delta"].abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order].groupby("response", sort=False).head(CURVE_GENES).sort_index()


def _single(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
