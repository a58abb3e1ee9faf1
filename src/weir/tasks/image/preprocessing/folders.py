"""PNG and JPEG pictures in a folder for each class."""

from __future__ import annotations

import warnings
from pathlib import PurePosixPath
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from weir.artifacts.schema_file import Repair
from weir.errors import Repairable, UserError
from weir.tasks.image.preprocessing.archives import DAMAGE, Members, slashed
from weir.tasks.image.preprocessing.pictures import UNTOLD, Pictures, room, to_array
from weir.tasks.image.settings.dataset import ImageDataset

SUFFIXES = (".png", ".jpg", ".jpeg")

FOLDERS = {
    "train": 0,
    "training": 0,
    "val": 1,
    "valid": 1,
    "validation": 1,
    "test": 2,
    "testing": 2,
}
"""Names of folders, in small letters, that tell the part of what is in them."""

WIDEST = 1 << 26
"""Pixels of one file above which it is refused unread."""


def read_folders(members: Members, config: ImageDataset) -> Pictures:
    """Pictures as `<class>/x.png`, or `train/<class>/x.png` and `test/<class>/x.png`.

    Folders around these do not matter, as long as they are the same for all.

    Raises:
        UserError: a file is no picture, or unlike the others; one line.
    """
    names = [name for name in members.names if name.lower().endswith(SUFFIXES)]
    repairs = []
    other = [name for name in members.names if name not in set(names)]
    if other:
        repairs.append(Repair("left out", len(other), f"no pictures by name: {_few(other)}"))
    # Sorted by name, however the archive was packed.
    names.sort()
    classes, label, part = sort_out(names, members.where)
    raw, good = _decode(members, names, config)
    if not good.all():
        broken = [name for name, fine in zip(names, good, strict=True) if not fine]
        if len(broken) == len(names):
            raise UserError(f"{members.where}: none of {len(names)} files can be read as a picture")
        detail = f"cannot be read as pictures: {_few(broken)}"
        repairs.append(Repair("left out", len(broken), detail))
    pictures = Pictures(
        where=members.where,
        raw=raw,
        label=label,
        part=part,
        classes=classes,
        levels=256,
        names=np.array(names, dtype=object),
        repairs=repairs,
    )
    if not good.all():
        pictures.keep(good)
    return pictures


def sort_out(names: list[str], where: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Classes, and label and part `[item]` int64 of each picture, from the files' paths.

    Raises:
        UserError: the folders do not tell them.
    """
    paths = [PurePosixPath(slashed(name)).parts[:-1] for name in names]
    depth = {len(path) for path in paths}
    if len(depth) > 1:
        first, last = (names[[len(p) for p in paths].index(d)] for d in (min(depth), max(depth)))
        raise UserError(
            f"{where}: {first} and {last} lie at different depths; put every picture into the "
            "folder of its class"
        )
    if depth == {0}:
        return ("all",), np.zeros(len(names), "int64"), np.full(len(names), UNTOLD)
    folder = [path[-1] for path in paths]
    above = [path[:-1] for path in paths]
    part = np.full(len(names), UNTOLD)
    if all(path and path[-1].lower() in FOLDERS for path in above):
        told = np.array([FOLDERS[path[-1].lower()] for path in above])
        # A training folder alone does not tell parts.
        part = told if len(set(told)) > 1 else part
        above = [path[:-1] for path in above]
    if len(set(above)) > 1:
        i = next(i for i, path in enumerate(above) if path != above[0])
        raise UserError(
            f"{where}: {names[0]} and {names[i]} lie in different folders above their class; pack "
            "one tree of `<class>/x.png`, or `train/<class>/` and `test/<class>/`"
        )
    classes = sorted(set(folder), key=lambda name: (int(name) if name.isdecimal() else -1, name))
    number = {name: i for i, name in enumerate(classes)}
    return tuple(classes), np.array([number[name] for name in folder]), part


def _decode(
    members: Members, names: list[str], config: ImageDataset
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `[item, channel, height, width]`, and which could be read `[item]`."""
    place = {name: i for i, name in enumerate(names)}
    raw: np.ndarray | None = None
    first = ""
    good = np.ones(len(names), bool)
    for name, stream in members.streams(set(names)):
        where = f"{members.where}, {name}"
        try:
            array = _read(stream, config)
        except ValueError as error:
            raise UserError(f"{where} {error}") from None
        except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError, *DAMAGE) as e:
            if config.broken == "error":
                text = (str(e) or type(e).__name__).splitlines()[0]
                text = "no known format" if isinstance(e, UnidentifiedImageError) else text
                raise Repairable(
                    f"{where} is not a picture ({text})",
                    "fix it, or set `broken: drop`",
                    "broken",
                    "drop",
                ) from None
            good[place[name]] = False
            continue
        if raw is None:
            room(members.where, len(names), *array.shape)
            raw, first = np.zeros((len(names), *array.shape), "uint8"), name
        if array.shape != raw.shape[1:]:
            raise UserError(_unlike(where, array, first, raw[0]))
        raw[place[name]] = array
    return (np.zeros((0, 1, 1, 1), "uint8") if raw is None else raw), good


def _read(stream: IO[bytes], config: ImageDataset) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(stream, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > WIDEST:
                    raise ValueError(f"has {image.width} x {image.height} pixels; make it smaller")
                return to_array(image, config)
        except Image.DecompressionBombWarning as warning:
            raise Image.DecompressionBombError(str(warning)) from None


def _unlike(where: str, array: np.ndarray, first: str, other: np.ndarray) -> str:
    if array.shape[0] != other.shape[0]:
        kinds = ("grey", "in colour") if array.shape[0] == 1 else ("in colour", "grey")
        return f"{where} is {kinds[0]}, but {first} is {kinds[1]}; set `grey: true` or `false`"
    sizes = [f"{a.shape[1]} x {a.shape[2]}" for a in (array, other)]
    return (
        f"{where} has {sizes[0]} pixels (height x width), but {first} has {sizes[1]}; set `size`, "
        f"e.g. [{other.shape[1]}, {other.shape[2]}]"
    )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
