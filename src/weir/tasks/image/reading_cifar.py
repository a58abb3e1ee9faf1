"""CIFAR-10's binary files: Krizhevsky, "Learning multiple layers of features", 2009."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from weir.errors import UserError
from weir.tasks.image.dataset_config import ImageDataset
from weir.tasks.image.form import reform
from weir.tasks.image.members import Members
from weir.tasks.image.pictures import UNTOLD, Pictures, room
from weir.tasks.image.schema import PARTS

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
"""Bytes of a picture: its label, then the red, the green and the blue plane."""

NAMES = "batches.meta.txt"
"""Names of the classes, one a line."""


def read_cifar(members: Members, config: ImageDataset) -> Pictures:
    """All `.bin` files; those whose name begins with `test` are the test split.

    Raises:
        UserError: a file is no whole number of pictures, or a label is not 0 to 9; one line.
    """
    chosen = {n for n in members.names if n.endswith(".bin") or n.endswith(NAMES)}
    classes: tuple[str, ...] | None = None
    pieces: dict[str, np.ndarray] = {}
    for name, stream in members.streams(chosen):
        if name.endswith(NAMES):
            classes = tuple(stream.read(1 << 16).decode("ascii", "replace").split())
            continue
        where = f"{members.where}, {name}"
        content = np.frombuffer(stream.read(), "uint8")
        if not content.size or content.size % RECORD:
            raise UserError(
                f"{where}: {content.size} bytes are no whole number of CIFAR-10's records of "
                f"{RECORD}; get the binary version of CIFAR-10 anew"
            )
        records = content.reshape(-1, RECORD)
        bad = records[:, 0] > 9
        if bad.any():
            item = int(bad.argmax())
            raise UserError(
                f"{where}, picture {item}: its label is {records[item, 0]}, CIFAR-10 has 0 to 9; "
                "get the binary version of CIFAR-10 anew"
            )
        pieces[name] = records
    # In the order of the names, however the archive was packed.
    ordered = sorted(pieces)
    room(members.where, sum(len(pieces[name]) for name in ordered), *SHAPE)
    tests = [PurePosixPath(name).name.startswith("test") for name in ordered]
    told = any(tests) and not all(tests)
    part = [PARTS.index("test" if test else "train") if told else UNTOLD for test in tests]
    planes = [pieces[name][:, 1:].reshape(-1, *SHAPE) for name in ordered]
    raw = [reform(some.transpose(0, 2, 3, 1), config, members.where) for some in planes]
    return Pictures(
        where=members.where,
        raw=np.concatenate(raw),
        label=np.concatenate([pieces[name][:, 0] for name in ordered]).astype("int64"),
        part=np.repeat(part, [len(some) for some in planes]),
        classes=classes if classes is None or len(classes) == 10 else None,
        levels=256,
    )
