"""Raw files to pictures, in whichever layout they come."""

from __future__ import annotations

import re
from pathlib import Path

from weir.errors import UserError
from weir.tasks.image.preprocessing.archives import Members, open_members
from weir.tasks.image.preprocessing.folders import SUFFIXES, read_folders
from weir.tasks.image.preprocessing.idx import read_cifar, read_idx
from weir.tasks.image.preprocessing.npz import read_npz
from weir.tasks.image.preprocessing.pictures import Pictures
from weir.tasks.image.settings.dataset import ImageDataset

IDX = re.compile(r"idx[123]|-ubyte|\.idx(\.gz)?$")
"""In names of idx files: train-images-idx3-ubyte.gz."""


def read_pictures(config: ImageDataset, folder: Path, names: list[str]) -> Pictures:
    """The pictures in the files `names` of a folder.

    Raises:
        UserError: they are damaged, or not what `config` says; one line.
    """
    if len(names) == 1 and names[0].lower().endswith(".npz"):
        return read_npz(folder / names[0], config)
    with open_members(folder, names) as members:
        layout = layout_of(members)
        if layout == "idx":
            return read_idx(members, config)
        if layout == "cifar":
            return read_cifar(members, config)
        return read_folders(members, config)


def layout_of(members: Members) -> str:
    """`idx`, `cifar` or `folders`, by the files' names.

    Raises:
        UserError: they are none of these.
    """
    lower = [name.lower() for name in members.names]
    if any(name.endswith(SUFFIXES) for name in lower):
        return "folders"
    if any(IDX.search(name) for name in lower):
        return "idx"
    if any(name.endswith(".bin") for name in lower):
        return "cifar"
    few = ", ".join(members.names[:4]) or "nothing"
    raise UserError(
        f"{members.where}: no pictures among {few}; give PNG or JPEG files in a folder for each "
        "class (also in a zip or tar), idx files, CIFAR-10's .bin files, or an .npz"
    )
