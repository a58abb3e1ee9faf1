"""Pictures on their way from raw files to a processed set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from weir.errors import UserError
from weir.tasks.image.schema import Repair

MOST_BYTES = 4 << 30
"""Pixels that are held at most; a set stays in memory as long as it is trained on."""

UNTOLD = -1
"""Part of a picture whose files tell none; else its number in `schema.PARTS`."""


@dataclass
class Pictures:
    """Labelled pictures of one size.

    Attributes:
        where: the file or folder, for messages.
        raw: `[item, channel, height, width]` uint8; a toy's points `[item, 2]` float32.
        label: `[item]` int64.
        part: `[item]` int64, number in `schema.PARTS` or UNTOLD.
        classes: names, in the order of the labels; None if labels are numbers without names.
        levels: number of levels of a pixel; None for a toy.
        names: file of each picture; None where they are numbered in one array.
        repairs: what was changed so far.
    """

    where: str
    raw: np.ndarray
    label: np.ndarray
    part: np.ndarray
    classes: tuple[str, ...] | None
    levels: int | None
    names: np.ndarray | None = None
    repairs: list[Repair] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.label)

    def at(self, item: int) -> str:
        """Where a picture lies, for messages; arrays count from 0."""
        if self.names is None:
            return f"{self.where}, picture {item}"
        return f"{self.where}, {self.names[item]}"

    def keep(self, chosen: np.ndarray) -> None:
        """Keep the items of a mask, in place."""
        self.raw, self.label, self.part = self.raw[chosen], self.label[chosen], self.part[chosen]
        self.names = None if self.names is None else self.names[chosen]


def room(where: str, count: int, *shape: int) -> None:
    """Refuse pictures that would take too much memory, before any is given out.

    Raises:
        UserError: they would, or there are none.
    """
    size = count * int(np.prod(shape, dtype="object"))
    if size == 0:
        raise UserError(f"{where}: there are no pictures in it; mend `source`")
    if size > MOST_BYTES:
        raise UserError(
            f"{where}: {count} pictures of {' x '.join(map(str, shape))} take {size / 2**30:.1f} "
            f"GiB, at most {MOST_BYTES / 2**30:g} fit; set `size`, or leave some out"
        )
