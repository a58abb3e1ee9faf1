"""Pictures on their way from raw files to a processed set, of one size and kind of colour."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps

from weir.artifacts.schema_file import Repair
from weir.errors import UserError
from weir.tasks.image.settings.dataset import ImageDataset


def reform(pictures: np.ndarray, config: ImageDataset, where: str) -> np.ndarray:
    """Apply `grey` and `size` to an array of pictures.

    Args:
        pictures: `[item, height, width, channel]` uint8 of 256 levels, 1 channel or 3.
        config: settings.
        where: the file, for messages.

    Returns:
        `[item, channel, height, width]` uint8.
    """
    channels = pictures.shape[3]
    wanted = {None: channels, True: 1, False: 3}[config.grey]
    size = config.size or pictures.shape[1:3]
    if channels == wanted and tuple(size) == pictures.shape[1:3]:
        return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    if config.levels not in (None, 256):
        raise UserError(f"{where}: only pictures of 256 levels are resized; unset `levels`")
    result = np.empty((len(pictures), wanted, *size), "uint8")
    for item, picture in enumerate(pictures):
        image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
        result[item] = to_array(image, config)
    return result


def to_array(image: Image.Image, config: ImageDataset) -> np.ndarray:
    """A picture as `[channel, height, width]` uint8, with `grey` and `size` applied.

    Raises:
        ValueError: it has more than 8 bits or transparent pixels; in words.
    """
    # Cameras store how the picture is to be turned beside it.
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        raise ValueError("has more than 8 bits a pixel; save it with 8")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise ValueError("has transparent pixels; save it on a background")
    grey = image.mode in ("1", "L", "LA") if config.grey is None else config.grey
    image = image.convert("L" if grey else "RGB")
    if config.size is not None and config.size != (image.height, image.width):
        height, width = config.size
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[None] if grey else array.transpose(2, 0, 1)


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
        raise UserError(f"{where}: there are no pictures in it; fix `source`")
    if size > MOST_BYTES:
        raise UserError(
            f"{where}: {count} pictures of {' x '.join(map(str, shape))} take {size / 2**30:.1f} "
            f"GiB, at most {MOST_BYTES / 2**30:g} fit; set `size`, or leave some out"
        )
