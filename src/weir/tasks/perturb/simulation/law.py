"""The law of simulated cells: rates under any doses, and the same cell's counts under others.

Counts are quantiles of the negative binomial law at uniform numbers, which a cell keeps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.stats import nbinom
from torch import Tensor

from weir.artifacts.schema_file import SCHEMA
from weir.errors import UserError
from weir.tasks.perturb.data.load import CELLS
from weir.tasks.perturb.data.schema import LAW, Schema

LARGE = 200.0
"""Mean above which the recursion from zero would underflow or take long."""


def quantile(uniform: np.ndarray, mean: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The least count whose distribution function reaches `uniform`.

    Most counts of cells are zero or small, so that summing up the mass function from zero, with
    ever fewer values left, is much faster than inverting the incomplete beta function.

    Args:
        uniform: in (0, 1).
        mean: of the same shape, positive.
        theta: inverse dispersion, broadcasts.

    Returns:
        float64 whole numbers of that shape.
    """
    theta = np.broadcast_to(theta, mean.shape)
    counts = np.zeros(mean.shape)
    success = theta / (theta + mean)
    mass = np.exp(-theta * np.log1p(mean / theta))
    below = mass.copy()
    left = np.flatnonzero((uniform > below) & (mean <= LARGE))
    u, mass, below = uniform.flat[left], mass.flat[left], below.flat[left]
    size, failure = theta.flat[left], 1 - success.flat[left]
    count = 0
    while len(left):
        mass = mass * (count + size) / (count + 1) * failure
        after = below + mass
        count += 1
        # A mass too small to be added ends the tail, whatever rounding has left of `u`.
        done = (u <= after) | ((after == below) & (count > LARGE))
        counts.flat[left[done]] = count
        stay = ~done
        left, u, size, failure = left[stay], u[stay], size[stay], failure[stay]
        mass, below = mass[stay], after[stay]
    big = mean > LARGE
    if big.any():
        counts[big] = nbinom.ppf(uniform[big], theta[big], success[big])
    return counts


@dataclass(frozen=True)
class Names:
    """Names of a law's axes.

    Attributes:
        genes: of the genes.
        perturbations: in the order of the doses.
        pairs: numbers of two perturbations, in the order of the interactions.
        combinations: pairs that were given together.
    """

    genes: tuple[str, ...]
    perturbations: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    combinations: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Parameters:
    """Numbers of a law, float64 arrays, and the cells' latent states.

    Attributes:
        base: `[gene]` log level.
        loadings: `[programme, gene]`.
        batch: `[batch, gene]` log shifts.
        tissue: `[gene]` log shift by one unit of the spatial field.
        place_factor: `[perturbation]` log factor of a response by one unit of the spatial field.
        effect: `[perturbation, gene]` log shifts at full dose.
        interaction: `[pair, gene]` log shifts beyond the sum, both at full dose.
        half_dose: `[perturbation]` dose of half the effect.
        type_factor: `[perturbation, cell type]` strength in each type.
        theta: `[gene]` inverse dispersion.
        activity: `[cell, programme]`.
        depth: `[cell]` expected library.
        field: `[cell]` the spatial field at its place.
        cell_type: `[cell]` int64 number of its type.
        cell_batch: `[cell]` int64 number of its batch.
    """

    base: np.ndarray
    loadings: np.ndarray
    batch: np.ndarray
    tissue: np.ndarray
    place_factor: np.ndarray
    effect: np.ndarray
    interaction: np.ndarray
    half_dose: np.ndarray
    type_factor: np.ndarray
    theta: np.ndarray
    activity: np.ndarray
    depth: np.ndarray
    field: np.ndarray
    cell_type: np.ndarray
    cell_batch: np.ndarray


class Law:
    """Counts of cell `i` are negative binomial with mean `depth[i] softmax(eta[i])`, where

    `eta = base + activity loadings + batch + field tissue
           + sum_p s_p effect_p + sum_pq s_p s_q interaction_pq`
    and `s_p = type_factor exp(field place_factor_p) / (1 + (half_dose / dose)^hill)`.

    The uniform number behind each count is a function of the seed, the cell and the gene, so that
    a cell's counts under two conditions differ by the conditions only: exact twins.

    Args:
        parameters: the numbers.
        names: of the axes.
        hill: exponent of the dose response.
        seed: of the uniform numbers.
        rows: `[cell]` simulated cell of each row of the processed data; all by default.
        genes: `[gene]` simulated gene of each processed gene; all by default.
        doses: `[perturbation]` law's perturbation of each column of doses; all by default.
    """

    def __init__(
        self,
        parameters: Parameters,
        names: Names,
        hill: float,
        seed: int,
        *,
        rows: np.ndarray | None = None,
        genes: np.ndarray | None = None,
        doses: np.ndarray | None = None,
    ) -> None:
        self.parameters, self.names, self.hill, self.seed = parameters, names, hill, seed
        self._rows = np.arange(len(parameters.depth)) if rows is None else rows
        self._genes = np.arange(len(names.genes)) if genes is None else genes
        self._doses = np.arange(len(names.perturbations)) if doses is None else doses

    @classmethod
    def load(cls, folder: Path) -> Law:
        """The law in a raw or processed folder; in the latter, rows and genes are as processed.

        Raises:
            UserError: the folder's cells are not simulated, or a file is damaged.
        """
        if not (folder / LAW[0]).exists():
            raise UserError(
                f"no {folder / LAW[0]}: the law is known only of a simulated dataset; remove the "
                "node or set `source: {simulator: {}}`"
            )
        try:
            told = json.loads((folder / LAW[0]).read_bytes())
            names = TypeAdapter(Names).validate_python(told["names"])
            arrays = load_file(folder / LAW[1])
            if "place_factor" not in arrays:
                arrays["place_factor"] = np.zeros(len(names.perturbations))
            parameters = Parameters(**{f.name: arrays[f.name] for f in fields(Parameters)})
            law = cls(parameters, names, told["hill"], told["seed"])
            if (folder / SCHEMA).exists():
                return law.processed(Schema.load(folder), folder)
        except (OSError, ValueError, LookupError, SafetensorError, ValidationError) as error:
            text = str(error).splitlines()[0]
            raise UserError(
                f"{folder / LAW[0]} is damaged ({text}); rerun weir preprocess"
            ) from None
        return law

    def processed(self, schema: Schema, folder: Path) -> Law:
        """The law with the rows, genes and perturbations of a processed folder."""
        gene = {name: i for i, name in enumerate(self.names.genes)}
        perturbation = {name: i for i, name in enumerate(self.names.perturbations)}
        return Law(
            self.parameters,
            self.names,
            self.hill,
            self.seed,
            rows=pq.read_table(folder / CELLS, columns=["row"])["row"].to_numpy(),
            genes=np.array([gene[name] for name in schema.genes]),
            doses=np.array([perturbation[name] for name in schema.perturbations]),
        )

    def save(self, folder: Path) -> list[str]:
        """Write the law into a folder; returns the names of the files."""
        told = {"names": asdict(self.names), "hill": self.hill, "seed": self.seed}
        (folder / LAW[0]).write_text(json.dumps(told, indent=1) + "\n")
        arrays = {f.name: getattr(self.parameters, f.name) for f in fields(Parameters)}
        if not self.parameters.place_factor.any():
            del arrays["place_factor"]  # a law without keeps the bytes it always had
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / LAW[1])
        return list(LAW)

    def spread(self, factor: float) -> Law:
        """The law whose genes' base levels differ `factor` times as much."""
        parameters = replace(self.parameters, base=factor * self.parameters.base)
        return Law(parameters, self.names, self.hill, self.seed)

    @property
    def theta(self) -> Tensor:
        """`[gene]` float64 inverse dispersion of the processed genes."""
        return torch.from_numpy(self.parameters.theta[self._genes])

    def rates(self, cell_rows: Tensor, doses: Tensor) -> Tensor:
        """Expected counts `[cell, gene]` float32 of cells under doses.

        Args:
            cell_rows: `[cell]` int64 rows of the data (`CellSet.rows`).
            doses: `[cell, perturbation]`, raw units; need not be what the cells were given.
        """
        rates = self.rates_of(*self._simulated(cell_rows, doses))
        return torch.from_numpy(rates[:, self._genes]).float()

    def twins(self, cell_rows: Tensor, doses: Tensor) -> Tensor:
        """Counts `[cell, gene]` float32 that the very cells have under doses.

        Under the doses that a cell was given these are its counts in the data.
        """
        counts = self.twins_of(*self._simulated(cell_rows, doses))
        return torch.from_numpy(counts[:, self._genes]).float()

    def shift_of(self, rows: np.ndarray, doses: np.ndarray) -> np.ndarray:
        """Log shift `[cell, gene]` of simulated cells by doses, before normalisation."""
        p = self.parameters
        with np.errstate(divide="ignore"):
            hill = 1 / (1 + (p.half_dose / doses.astype("float64")) ** self.hill)
        strength = hill * p.type_factor[:, p.cell_type[rows]].T
        if p.place_factor.any():
            strength = strength * np.exp(p.field[rows, None] * p.place_factor)
        shift = strength @ p.effect
        for number, (first, second) in enumerate(self.names.pairs):
            both = strength[:, first] * strength[:, second]
            if both.any():
                shift += both[:, None] * p.interaction[number]
        return shift

    def rates_of(self, rows: np.ndarray, doses: np.ndarray) -> np.ndarray:
        """Expected counts `[cell, simulated gene]` float64 of simulated cells under doses."""
        p = self.parameters
        eta = p.base + p.activity[rows] @ p.loadings + p.batch[p.cell_batch[rows]]
        eta += p.field[rows, None] * p.tissue + self.shift_of(rows, doses)
        share = np.exp(eta - eta.max(1, keepdims=True))
        return p.depth[rows, None] * share / share.sum(1, keepdims=True)

    def twins_of(self, rows: np.ndarray, doses: np.ndarray) -> np.ndarray:
        """Counts `[cell, simulated gene]` float64 of simulated cells under doses."""
        return quantile(
            uniforms(self.seed, rows, len(self.names.genes)),
            self.rates_of(rows, doses),
            self.parameters.theta,
        )

    def _simulated(self, cell_rows: Tensor, doses: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Rows and doses as the law counts them."""
        whole = np.zeros((len(doses), len(self.names.perturbations)), "float32")
        whole[:, self._doses] = doses.cpu().numpy()
        return self._rows[cell_rows.cpu().numpy()], whole


def uniforms(seed: int, rows: np.ndarray, genes: int) -> np.ndarray:
    """Numbers in (0, 1), `[cell, gene]`: a function of seed, cell and gene.

    SplitMix64 (Steele, Lea, Flood 2014) of the place in the matrix, from a start that the seed
    picks, so that any cell's numbers can be had without those of the others.
    """
    start = np.random.default_rng(seed).integers(1 << 63, dtype="uint64")
    place = rows.astype("uint64")[:, None] * np.uint64(genes) + np.arange(genes, dtype="uint64")
    state = start + (place + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return ((state >> np.uint64(11)).astype("float64") + 0.5) * 2.0**-53
