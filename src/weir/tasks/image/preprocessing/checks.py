"""Checks of pictures, and the repairs that a dataset node allows: each an error or a record."""

from __future__ import annotations

import hashlib

import numpy as np

from weir.artifacts.schema_file import Repair
from weir.errors import Repairable, UserError
from weir.tasks.image.data.schema import PARTS
from weir.tasks.image.preprocessing.pictures import UNTOLD, Pictures
from weir.tasks.image.settings.dataset import ImageDataset

FEWEST = {"train": 2, "validation": 1, "test": 2}
"""Items of a class that each part needs: two to have a spread."""

CHUNK = 1 << 24
"""Pixels looked at at a time."""


def name_classes(pictures: Pictures, config: ImageDataset) -> None:
    """Give labels 0, 1, ... and their names, in place.

    Raises:
        UserError: a label has no name, or a name no pictures; one line.
    """
    if pictures.classes is not None and config.classes is not None:
        if set(config.classes) != set(pictures.classes):
            odd = sorted(set(config.classes) ^ set(pictures.classes))
            raise UserError(
                f"{pictures.where}: `classes` and the data's own ({', '.join(pictures.classes)}) "
                f"differ in {', '.join(odd)}; fix or unset `classes`"
            )
        order = np.array([config.classes.index(name) for name in pictures.classes])
        pictures.label = order[pictures.label]
        pictures.classes = tuple(config.classes)
    elif config.classes is not None:
        bad = (pictures.label < 0) | (pictures.label >= len(config.classes))
        if bad.any():
            item = int(bad.argmax())
            raise UserError(
                f"{pictures.at(item)}: its label is {pictures.label[item]}, but `classes` names 0 "
                f"to {len(config.classes) - 1} ({int(bad.sum())} such labels); fix `classes`"
            )
        pictures.classes = tuple(config.classes)
    elif pictures.classes is None:
        found, pictures.label = np.unique(pictures.label, return_inverse=True)
        pictures.classes = tuple(str(number) for number in found)
    pictures.label = pictures.label.astype("int64")


def check_levels(pictures: Pictures, config: ImageDataset) -> None:
    """Every pixel is a level below `levels`; sets `pictures.levels`.

    Raises:
        UserError: one is not; one line.
    """
    levels = config.levels or pictures.levels or 256
    for rows in _rows(pictures.raw):
        if pictures.raw[rows].max() >= levels:
            high = pictures.raw[rows].reshape(len(pictures.raw[rows]), -1).max(1)
            item = int((high >= levels).argmax())
            raise UserError(
                f"{pictures.at(rows.start + item)}: it has level {high[item]}, but there are "
                f"{levels} (0 to {levels - 1}); fix `levels`"
            )
    pictures.levels = levels


def drop_constant(pictures: Pictures, config: ImageDataset) -> None:
    """Refuse, leave out or keep pictures of one level throughout, in place.

    Raises:
        UserError: there are some, and `constant` says so, or there is nothing else; one line.
    """
    flat = np.zeros(len(pictures), bool)
    for rows in _rows(pictures.raw):
        some = pictures.raw[rows].reshape(len(pictures.raw[rows]), -1)
        flat[rows] = some.min(1) == some.max(1)
    if not flat.any():
        return
    item, count = int(flat.argmax()), int(flat.sum())
    if config.constant == "error":
        raise Repairable(
            f"{pictures.at(item)}: every pixel is {pictures.raw[item].flat[0]} ({count} such "
            "pictures)",
            "set `constant: drop` or `keep`",
            "constant",
            "drop",
        )
    if config.constant == "keep":
        pictures.repairs.append(Repair("constant", count, "of one level throughout: kept"))
        return
    if flat.all():
        raise UserError(f"{pictures.where}: every picture is of one level; fix the files")
    pictures.keep(~flat)
    pictures.repairs.append(Repair("constant", count, "of one level throughout: left out"))


def count_duplicates(pictures: Pictures, part: np.ndarray) -> None:
    """Note pictures that stand twice, in two parts, or under two classes; `part` `[item]`."""
    first: dict[bytes, int] = {}
    again, leaks, torn = 0, dict.fromkeys(PARTS[1:], 0), 0
    for item in np.argsort(part, kind="stable"):
        key = hashlib.blake2b(pictures.raw[item].tobytes(), digest_size=16).digest()
        other = first.setdefault(key, int(item))
        if other == item:
            continue
        again += 1
        torn += bool(pictures.label[item] != pictures.label[other])
        if part[item] > 0 and part[other] == 0:
            leaks[PARTS[part[item]]] += 1
    if again:
        pictures.repairs.append(Repair("duplicates", again, "the same as an earlier one: kept"))
    if torn:
        detail = "the same as one of another class: kept"
        pictures.repairs.append(Repair("duplicates", torn, detail))
    for name, count in leaks.items():
        if count:
            detail = f"of {name} are also in training: kept"
            pictures.repairs.append(Repair("leak", count, detail))


def split_parts(pictures: Pictures, config: ImageDataset) -> np.ndarray:
    """Part of each item `[item]` int64, number in PARTS: as the files tell, else by lot.

    Shares are of each class; the lot depends on the seed and the labels only.

    Raises:
        UserError: the node asks for a split that the files have, or a class has too few; one line.
    """
    part, settings = pictures.part.copy(), config.split
    own = {name: bool((part == number).any()) for number, name in enumerate(PARTS)}
    for name, share in (("test", settings.test), ("validation", settings.validation)):
        if own[name] and share is not None:
            raise UserError(
                f"{pictures.where}: it has a {name} split of its own; unset `split.{name}`"
            )
    part[part == UNTOLD] = 0
    random = np.random.default_rng(settings.seed)
    shares = ((2, "test", settings.test or 0.2), (1, "validation", settings.validation or 0.1))
    for number in range(len(pictures.classes or ())):
        for code, name, share in shares:
            if own[name]:
                continue
            items = random.permutation(np.flatnonzero((pictures.label == number) & (part == 0)))
            part[items[: round(share * len(items))]] = code
    _enough(pictures, part)
    return part


def _enough(pictures: Pictures, part: np.ndarray) -> None:
    assert pictures.classes is not None
    for number, name in enumerate(pictures.classes):
        mine = part[pictures.label == number]
        for code, piece in enumerate(PARTS):
            count = int((mine == code).sum())
            if count < FEWEST[piece]:
                raise UserError(
                    f"{pictures.where}: class {name!r} has {len(mine)} pictures, of which {count} "
                    f"in {piece}, where at least {FEWEST[piece]} are needed; bring more, leave the "
                    "class out, or change `split`"
                )


def _rows(raw: np.ndarray) -> list[slice]:
    """Ranges of items of about CHUNK pixels."""
    step = max(1, CHUNK // max(1, raw[0].size)) if len(raw) else 1
    return [slice(i, min(i + step, len(raw))) for i in range(0, len(raw), step)]
