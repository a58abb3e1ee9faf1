"""Schema of a processed set of pictures: the typed contents of `schema.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from weir.artifacts.schema_file import Repair, SchemaFile

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class JudgeCard:
    """How the classifier that judges samples was built, and how good it is.

    Attributes:
        width: channels of its first layer.
        features: F, the length of its features.
        accuracy: share of pictures that it classifies rightly, of `validation` and `test`.
    """

    width: int
    features: int
    accuracy: dict[Part, float]


@dataclass(frozen=True)
class Schema(SchemaFile):
    """A processed set of pictures, or of a toy's points.

    Attributes:
        task: `image`.
        shape: of an item: channels, height, width; (2,) for a toy.
        levels: number of levels of a pixel, None for a toy.
        classes: names, in the order of the labels.
        priors: share of each class among the training items.
        counts: number of items of each part.
        center: mean of the training pixels, unit scale (see `scale`).
        spread: their standard deviation, unit scale, dequantisation included.
        judge: of the classifier in the folder, None if there is none.
        repairs: what was changed and found.
        source_sha256: SHA-256 over the names and SHA-256s of the raw files.
        digest: SHA-256 of the items and labels.
        simulated: whether the law of the items is known.
        truth: settings of the toy's law, None for pictures.
    """

    task: Literal["image"]
    shape: tuple[int, ...]
    levels: int | None
    classes: tuple[str, ...]
    priors: tuple[float, ...]
    counts: dict[Part, int]
    center: float
    spread: float
    judge: JudgeCard | None
    repairs: tuple[Repair, ...]
    source_sha256: str
    digest: str
    simulated: bool
    truth: dict[str, Any] | None
