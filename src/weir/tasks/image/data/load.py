"""A processed set of pictures, loaded to tensors.

A processed folder holds `images.safetensors` (`raw` `[item, *shape]`, uint8 levels or a toy's
float32 coordinates; `label` and `row`, its place in the raw files, `[item]` int64; first the
training items, then validation, then test), `schema.json` and, for pictures, the classifier
`judge.safetensors`. Room `preprocessing` writes it, which is apart so that an edit of the checks
retrains nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from weir.errors import UserError
from weir.tasks.image.data.schema import PARTS, Part, Schema

if TYPE_CHECKING:
    from weir.tasks.image.data.judge import Judge
    from weir.tasks.image.simulation.toy_law import ToyLaw

IMAGES = "images.safetensors"


class Images(NamedTuple):
    """A batch of items.

    Attributes:
        raw: `[batch, *shape]` float32: levels 0 to `levels - 1`, or a toy's coordinates.
        label: `[batch]` int64 class.
    """

    raw: Tensor
    label: Tensor


@dataclass
class ImageSet:
    """The items of a part.

    Attributes:
        raw: `[item, *shape]` uint8 levels or float32 coordinates, on any device.
        label: `[item]` int64 class, on the same.
        row: `[item]` int64 place in the raw files, on the same.
    """

    raw: Tensor
    label: Tensor
    row: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def to(self, device: torch.device | str) -> ImageSet:
        """The same items on `device`."""
        return ImageSet(self.raw.to(device), self.label.to(device), self.row.to(device))

    def batch(self, items: Tensor) -> Images:
        """The items numbered `items` (`[batch]` int64, any device)."""
        items = items.to(self.raw.device)
        return Images(self.raw[items].float(), self.label[items])


@dataclass(frozen=True)
class ImageData:
    """A processed set, resident in memory.

    Attributes:
        items: all items, in the order of the parts.
        schema: shape, levels, classes and the rest of `schema.json`.
        folder: where it was loaded from.
    """

    items: ImageSet
    schema: Schema
    folder: Path

    @property
    def name(self) -> str:
        """Name of the dataset node."""
        return self.folder.name

    def card(self) -> dict[str, Any]:
        """What a model must know of its data, for its folder."""
        return asdict(self.schema)

    def split(self, part: Part) -> ImageSet:
        """The items of a part; a view."""
        first = sum(self.schema.counts[name] for name in PARTS[: PARTS.index(part)])
        rows = slice(first, first + self.schema.counts[part])
        return ImageSet(self.items.raw[rows], self.items.label[rows], self.items.row[rows])

    def to(self, device: torch.device | str) -> ImageData:
        """The same items on `device`."""
        return ImageData(self.items.to(device), self.schema, self.folder)

    def judge(self) -> Judge | None:
        """The classifier trained on the training items, in evaluation mode; None if there is none.

        Raises:
            UserError: its file is missing or damaged; one line.
        """
        from weir.tasks.image.data.judge import load_judge

        return None if self.schema.judge is None else load_judge(self.folder, self.schema)

    def toy(self) -> ToyLaw | None:
        """The law that a toy's points were drawn from; None for pictures."""
        from weir.tasks.image.simulation.toys import law_of

        return None if self.schema.truth is None else law_of(self.schema.truth)


def load(folder: Path) -> ImageData:
    """Load a processed folder.

    Raises:
        UserError: a file is missing or damaged, or does not fit the schema; one line.
    """
    schema = Schema.load(folder)
    file = folder / IMAGES
    try:
        arrays = load_file(file)
        items = ImageSet(arrays["raw"], arrays["label"], arrays["row"])
    except (OSError, SafetensorError, KeyError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({text}); rerun weir preprocess") from None
    if digest(items.raw, items.label) != schema.digest:
        raise UserError(f"{file} does not fit its schema.json; rerun weir preprocess")
    return ImageData(items, schema, folder)


def digest(raw: Tensor, label: Tensor) -> str:
    """SHA-256 of items and labels (int64), little-endian, item by item."""
    sha256 = hashlib.sha256(str(tuple(raw.shape)).encode())
    for tensor in (raw, label):
        sha256.update(tensor.contiguous().numpy().data)
    return sha256.hexdigest()
