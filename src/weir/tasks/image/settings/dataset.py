"""Settings of labelled pictures or points, a `datasets` node with `task: image`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, NonNegativeInt, PositiveInt, Tag, model_validator

from weir.settings.base import Config
from weir.settings.source import Bundled, Files, Simulated, source_kind
from weir.tasks.image.settings.simulator import Simulation


def image_source_kind(source: object) -> str:
    """`bundled`, `simulator` or `files`."""
    if isinstance(source, Bundled) or (isinstance(source, dict) and "bundled" in source):
        return "bundled"
    return source_kind(source)


Source = Annotated[
    Annotated[Files, Tag("files")]
    | Annotated[Bundled, Tag("bundled")]
    | Annotated[Simulated[Simulation], Tag("simulator")],
    Discriminator(image_source_kind),
]


class Split(Config):
    """Validation and test items; those that the files tell apart themselves stay so."""

    test: float | None = Field(
        None, gt=0, lt=1, description="Share of each class; null: the files' own, else .2."
    )
    validation: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of each class's other items; null: the files' own, else .1.",
    )
    seed: NonNegativeInt = Field(0, description="Seed of the choice.")


class JudgeSettings(Config):
    """A small classifier of the training pictures, whose features samples are compared in."""

    steps: PositiveInt | None = Field(
        None, description="Optimiser steps; null: four passes, at least 500."
    )
    batch_size: PositiveInt = Field(64, description="Pictures of a step.")
    width: PositiveInt = Field(16, ge=4, description="Channels of the first layer.")
    learning_rate: float = Field(0.003, gt=0, description="Peak of the one-cycle schedule.")
    seed: NonNegativeInt = Field(0, description="Seed of the weights, noise and order.")


class ImageDataset(Config):
    """Pictures of one size with a class each, or points of two dimensions with a known law."""

    task: Literal["image"] = Field(description="The kind of data.")
    source: Source = Field(description="Where the raw files come from; their layout is seen.")
    classes: list[str] | None = Field(
        None,
        min_length=1,
        description="Names of the labels 0, 1, ...; null: folders' names, or the labels found.",
    )
    levels: int | None = Field(
        None, ge=2, le=256, description="Levels of a pixel; null: the file's own, else 256."
    )
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Height and width that every picture is resized to; null: as they are."
    )
    grey: bool | None = Field(
        None, description="true: all to grey; false: all to colour; null: as they are, all alike."
    )
    broken: Literal["error", "drop"] = Field(
        "error", description="Files that cannot be read as pictures: refuse, or leave out."
    )
    constant: Literal["error", "drop", "keep"] = Field(
        "error", description="Pictures of one level throughout: refuse, leave out or keep."
    )
    split: Split = Field(default_factory=Split, description="Training, validation and test items.")
    judge: JudgeSettings | None = Field(
        default_factory=JudgeSettings,
        description="The classifier that scores samples; null for none. Toys have none.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names a class twice")
        if self.size is not None and not isinstance(self.source, Files):
            raise ValueError("size is only for pictures in files")
        return self
