"""Settings of perturbed cells, a `datasets` node with `task: perturb`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from weir.settings.base import Config
from weir.settings.source import Files, Simulated, source_kind
from weir.tasks.perturb.settings.simulator import Simulation


def _text(value: object) -> object:
    """YAML reads a donor 101 as a number; in the file it is a name."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Value = Annotated[str, BeforeValidator(_text)]
"""A value of a column of `obs`; a whole number is taken as text."""

Role = Literal["cell_type", "batch"]


Source = Annotated[
    Annotated[Files, Tag("files")] | Annotated[Simulated[Simulation], Tag("simulator")],
    Discriminator(source_kind),
]


class Columns(Config):
    """Which columns of `obs` hold what."""

    perturbation: str = Field("perturbation", description="Column of the perturbation.")
    control: Value = Field("control", description="Its value that stands for no perturbation.")
    separator: str | None = Field(
        "+", min_length=1, description="Joins perturbations given together; null: none are."
    )
    dose: str | None = Field(
        None, description="Column of the dose, a number or one for each part (`1+0.5`)."
    )
    cell_type: str | None = Field(None, description="Column of the cell type.")
    batch: str | None = Field(None, description="Column of the batch: donor, plate, patient.")
    spatial: str | None = Field(None, description="Key of `obsm` with positions in the tissue.")
    section: str | None = Field(
        None, description="Column of the tissue section; positions count only within one."
    )

    @model_validator(mode="after")
    def _section_of_what(self) -> Self:
        if self.section is not None and self.spatial is None:
            raise ValueError("section needs `spatial`, the positions within it")
        return self


class Genes(Config):
    """Which genes are modelled."""

    name: str | None = Field(None, description="Column of `var` with the names; null: the index.")
    min_cells: NonNegativeInt = Field(1, description="Training cells a gene must be seen in.")
    highly_variable: PositiveInt | None = Field(
        2000, description="Keep at most that many, by dispersion in training cells; null: all."
    )


class Quality(Config):
    """Cells that are too poor to be used."""

    min_counts: NonNegativeFloat = Field(0, description="Least counts of a cell.")
    min_genes: NonNegativeInt = Field(0, description="Least genes seen in a cell.")
    max_mitochondrial: float | None = Field(
        None, gt=0, le=1, description="Largest share of counts in genes named MT-...; null: any."
    )


class LeaveGroupOut(Config):
    """The perturbed cells of a cell type or batch are unseen; its controls are seen."""

    design: Literal["leave_group_out"] = Field(description="What is held out.")
    by: Role = Field(description="What kind of group.")
    groups: list[Value] = Field(min_length=1, description="Groups; each is one fold.")


class LeaveCombinationOut(Config):
    """Some combinations are unseen, their parts are seen."""

    design: Literal["leave_combination_out"] = Field(description="What is held out.")
    conditions: list[Value] = Field(
        min_length=1, description="Combinations, written as in the file; each is one fold."
    )


class LeaveDoseOut(Config):
    """Some doses of a perturbation are unseen, others are seen."""

    design: Literal["leave_dose_out"] = Field(description="What is held out.")
    perturbation: Value = Field(description="The perturbation.")
    doses: list[PositiveFloat] = Field(min_length=1, description="Doses; each is one fold.")


class Random(Config):
    """A share of the perturbed cells of each context and condition: no generalisation asked."""

    design: Literal["random"] = Field(description="What is held out.")
    share: float = Field(0.2, gt=0, lt=1, description="Share of the perturbed cells.")
    seed: NonNegativeInt = Field(0, description="Seed of the choice.")


HeldOut = Annotated[
    LeaveGroupOut | LeaveCombinationOut | LeaveDoseOut | Random, Field(discriminator="design")
]

SPLIT_FIELD = {
    "leave_group_out": "groups",
    "leave_combination_out": "conditions",
    "leave_dose_out": "doses",
}
"""The list of each design whose members are folds."""


class PerturbDataset(Config):
    """Counts of single cells (`.h5ad`) under perturbations."""

    task: Literal["perturb"] = Field(description="The kind of data.")
    source: Source = Field(description="Where the raw file comes from.")
    layer: str | None = Field(
        None, description="Where raw counts lie: null for X, `raw` for raw.X, or a layer's name."
    )
    obs: Columns = Field(default_factory=Columns, description="Columns of `obs`.")
    match: list[Role] | None = Field(
        None,
        description="What cells share that may be compared; null: all of cell type and batch "
        "that are mapped.",
    )
    genes: Genes = Field(default_factory=Genes, description="Which genes are modelled.")
    quality: Quality = Field(default_factory=Quality, description="Which cells are too poor.")
    scale: PositiveFloat | None = Field(
        None, description="Library that expression is normalised to; null: the training median."
    )
    components: PositiveInt = Field(50, description="Principal components, at most.")
    empty_cells: Literal["error", "drop"] = Field(
        "error", description="Cells without any count: refuse, or drop."
    )
    missing: Literal["error", "drop"] = Field(
        "error", description="Cells without a value in a mapped column: refuse, or drop."
    )
    without_control: Literal["error", "drop"] = Field(
        "error", description="Perturbed cells whose context has no control: refuse, or drop."
    )
    min_group: PositiveInt = Field(
        3, description="Least cells of a context and condition; smaller groups are dropped."
    )
    neighbours: PositiveInt = Field(10, description="Cells that make up a spatial neighbourhood.")
    validation: float = Field(
        0.1, ge=0, lt=0.9, description="Share of the cells that are not held out."
    )
    held_out: HeldOut = Field(
        default_factory=lambda: Random(design="random"), description="The test cells."
    )

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the held-out groups, each a fold of its own; none for a random share."""
        held_out = self.held_out
        if isinstance(held_out, LeaveGroupOut):
            return tuple(held_out.groups)
        if isinstance(held_out, LeaveCombinationOut):
            return tuple(held_out.conditions)
        if isinstance(held_out, LeaveDoseOut):
            return tuple(f"{held_out.perturbation} {dose:g}" for dose in held_out.doses)
        return ()

    def fold(self, number: int) -> PerturbDataset:
        """The settings of one fold, counted from 0."""
        name = SPLIT_FIELD[self.held_out.design]
        only = self.held_out.model_copy(update={name: [getattr(self.held_out, name)[number]]})
        return self.model_copy(update={"held_out": only})

    @property
    def matched(self) -> tuple[Role, ...]:
        """What cells of a context share."""
        if self.match is not None:
            return tuple(role for role in ("cell_type", "batch") if role in self.match)
        return tuple(role for role in ("cell_type", "batch") if getattr(self.obs, role) is not None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for role in self.match or []:
            if getattr(self.obs, role) is None:
                raise ValueError(f"match names {role}, but `obs.{role}` is not set")
        held_out = self.held_out
        if isinstance(held_out, LeaveGroupOut) and getattr(self.obs, held_out.by) is None:
            raise ValueError(f"held_out.by is {held_out.by}, but `obs.{held_out.by}` is not set")
        if isinstance(held_out, LeaveDoseOut) and self.obs.dose is None:
            raise ValueError("held_out leaves doses out, but `obs.dose` is not set")
        if isinstance(held_out, LeaveCombinationOut) and self.obs.separator is None:
            raise ValueError("held_out leaves combinations out, but `obs.separator` is null")
        if len(set(self.folds)) < len(self.folds):
            raise ValueError("held_out names a group twice")
        if isinstance(self.source, Files) and len(self.source.hashes) != 1:
            raise ValueError("source must name one file; join several into one .h5ad")
        return self
