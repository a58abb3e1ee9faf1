"""Schema of a processed set of perturbed cells: the typed contents of `schema.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from weir.artifacts.schema_file import ColumnRepair, SchemaFile

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

LAW = ("law.json", "law.safetensors")
"""Files of the law of simulated cells, in their raw and processed folders."""

CONTROL = 0
"""Number of the control among the conditions."""


@dataclass(frozen=True)
class Condition:
    """What was done to a cell.

    Attributes:
        name: for people: `control`, `A`, `A 0.5`, `A+B`.
        doses: dose of each perturbation that is present, raw units; empty for control.
    """

    name: str
    doses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Cells that may be compared across conditions: of one cell type, batch, or both.

    Attributes:
        name: for people, `B cells` or `B cells, donor 1`.
        cell_type: name of the cell type, None if contexts mix them.
        batch: name of the batch, None if contexts mix them.
    """

    name: str
    cell_type: str | None = None
    batch: str | None = None


@dataclass(frozen=True)
class LibraryLaw:
    """Mean and standard deviation (population) of the training cells' natural log library.

    Attributes:
        mean: of the logarithms.
        sd: of the logarithms.
    """

    mean: float
    sd: float


@dataclass(frozen=True)
class Reading:
    """How the raw file was read, so that a user's new file can be read in the same way.

    Attributes:
        layer: where the counts lie; see the dataset node.
        gene_names: column of `var` with the names, None for the index.
        obs: name of the column, key or value of each setting in `obs` of the dataset node.
        neighbours: cells of a spatial neighbourhood.
    """

    layer: str | None
    gene_names: str | None
    obs: dict[str, str | None]
    neighbours: int


@dataclass(frozen=True)
class Schema(SchemaFile):
    """A processed set of perturbed cells.

    Attributes:
        task: `perturb`.
        genes: names, in the order of the counts.
        perturbations: names, in the order of the doses.
        conditions: number 0 is the control.
        cell_types: names; the code of the first is 1, 0 stands for unknown.
        batches: the same.
        contexts: groups within which control and perturbed cells are matched.
        niche: width of the spatial features, 0 without.
        dose_scale: median positive dose of each perturbation among the training cells.
        scale: library that expression is normalised to.
        library: law of the training cells' libraries.
        fold: name of the held-out group, None if the dataset has one fold.
        simulated: whether the folder holds the law that the cells were drawn from.
        cells: number of cells of each part.
        repairs: what was changed, in order.
        source_sha256: SHA-256 of the raw file.
        digest: SHA-256 of the folder's arrays.
        reading: how the raw file was read; None if it was by an earlier version.
    """

    task: Literal["perturb"]
    genes: tuple[str, ...]
    perturbations: tuple[str, ...]
    conditions: tuple[Condition, ...]
    cell_types: tuple[str, ...]
    batches: tuple[str, ...]
    contexts: tuple[Context, ...]
    niche: int
    dose_scale: tuple[float, ...]
    scale: float
    library: LibraryLaw
    fold: str | None
    simulated: bool
    cells: dict[Part, int]
    repairs: tuple[ColumnRepair, ...]
    source_sha256: str
    digest: str
    reading: Reading | None = None
