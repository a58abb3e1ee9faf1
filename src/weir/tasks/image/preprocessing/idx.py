"""Binary files of pictures and labels: idx files, as MNIST's, and CIFAR-10's.

References:
    LeCun, Cortes, Burges, "The MNIST database".
    Krizhevsky, "Learning multiple layers of features", 2009.
"""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import PurePosixPath
from typing import IO

import numpy as np

from weir.errors import UserError
from weir.tasks.image.data.schema import PARTS
from weir.tasks.image.preprocessing.archives import DAMAGE, Members
from weir.tasks.image.preprocessing.pictures import UNTOLD, Pictures, reform, room
from weir.tasks.image.settings.dataset import ImageDataset

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
                f"{RECORD}; get the binary version of CIFAR-10 again"
            )
        records = content.reshape(-1, RECORD)
        bad = records[:, 0] > 9
        if bad.any():
            item = int(bad.argmax())
            raise UserError(
                f"{where}, picture {item}: its label is {records[item, 0]}, CIFAR-10 has 0 to 9; "
                "get the binary version of CIFAR-10 again"
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


TEST = re.compile(r"t10k|test")
UBYTE = 8
"""The type that an idx header gives to bytes, the only one that pictures come in."""


def read_idx(members: Members, config: ImageDataset) -> Pictures:
    """Pairs of pictures and labels; those named t10k or test are the test split.

    Raises:
        UserError: a file is damaged or has no partner; one line.
    """
    found: dict[tuple[int, str], tuple[str, np.ndarray]] = {}
    for name, stream in members.streams(set(members.names)):
        where = f"{members.where}, {name}"
        array = read_array(stream, where)
        kind = "labels" if array.ndim == 1 else "images"
        part = PARTS.index("test" if TEST.search(name.lower()) else "train")
        if (part, kind) in found:
            raise UserError(
                f"{where}: {found[part, kind][0]} holds {kind} of the {PARTS[part]} split too; "
                "leave one out"
            )
        found[part, kind] = (name, array)
    pieces = []
    for part in sorted({part for part, _ in found}):
        for kind in ("images", "labels"):
            if (part, kind) not in found:
                raise UserError(
                    f"{members.where}: no {kind} of the {PARTS[part]} split; add that idx file"
                )
        (_, images), (name, labels) = found[part, "images"], found[part, "labels"]
        if len(images) != len(labels):
            raise UserError(
                f"{members.where}, {name}: {len(labels)} labels, but {len(images)} pictures; the "
                "files do not belong together"
            )
        pieces.append((reform(images[..., None], config, members.where), labels, part))
    shapes = {images.shape[1:] for images, _, _ in pieces}
    if len(shapes) > 1:
        raise UserError(f"{members.where}: training and test pictures differ in size; set `size`")
    part = np.concatenate([np.full(len(labels), part) for _, labels, part in pieces])
    return Pictures(
        where=members.where,
        raw=np.concatenate([images for images, _, _ in pieces]),
        label=np.concatenate([labels for _, labels, _ in pieces]).astype("int64"),
        # A training file alone does not tell parts.
        part=part if len(pieces) > 1 else np.full(len(part), UNTOLD),
        classes=None,
        levels=256,
    )


def read_array(stream: IO[bytes], where: str) -> np.ndarray:
    """The array of an idx file, packed with gzip or not: `[item]` or `[item, height, width]`.

    Raises:
        UserError: it is none, or breaks off, or goes on; one line.
    """
    try:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        plain = gzip.GzipFile(fileobj=stream) if packed else stream
        magic = plain.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[3] not in (1, 3):
            raise UserError(
                f"{where}: no idx file of pictures or labels (magic number {magic.hex() or 'none'}"
                ", 00000803 or 00000801 expected); get it again, or leave it out"
            )
        if magic[2] != UBYTE:
            raise UserError(
                f"{where}: the idx file holds type 0x{magic[2]:02x}, not bytes (0x08); save the "
                "pictures as bytes"
            )
        header = plain.read(4 * magic[3])
        if len(header) < 4 * magic[3]:
            raise UserError(f"{where} breaks off in its header; get it again")
        shape = struct.unpack(f">{magic[3]}I", header)
        room(where, *shape)
        array = np.empty(shape, "uint8")
        got = _fill(plain, array)
        if got < array.size:
            raise UserError(f"{where} breaks off after {got} of {array.size} bytes; get it again")
        if plain.read(1):
            raise UserError(f"{where} goes on after its {array.size} bytes; get it again")
    except DAMAGE as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{where} is damaged ({text}); get it again") from None
    return array


def _fill(stream: IO[bytes], array: np.ndarray) -> int:
    """Read into an array until it is full or the stream ends; bytes read."""
    view, got = memoryview(array).cast("B"), 0
    while got < len(view):
        piece = stream.read(min(1 << 20, len(view) - got))
        if not piece:
            break
        view[got : got + len(piece)] = piece
        got += len(piece)
    return got
