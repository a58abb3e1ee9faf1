"""Proposal of a `datasets` node for a user's pictures, for `weir data add PATH`.

The path is an archive of pictures (zip or tar), CIFAR-10's archive, an `.npz`, or a folder: of
idx files, of CIFAR-10's `.bin` files, or of a folder of pictures for each class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weir.errors import UserError
from weir.files import file_digest
from weir.tasks.image.data.schema import Schema
from weir.tasks.image.preprocessing.archives import ARCHIVES, junk
from weir.tasks.image.preprocessing.folders import SUFFIXES
from weir.tasks.image.preprocessing.preprocess import process
from weir.tasks.image.preprocessing.reading import IDX
from weir.tasks.image.settings.dataset import ImageDataset
from weir.tasks.proposal import Proposal, rehearse

LOOSE = 500
"""Pictures of a folder above which they are to be packed: each has a line in params.yaml."""


def describe(path: Path) -> Proposal:
    """Propose a node for a file or folder of pictures, with the repairs that it needs.

    Raises:
        UserError: there are no pictures in a layout that is known; one line.
    """
    if path.is_dir():
        folder, names = path, _names(path)
        sha256: Any = {name: file_digest(path / name) for name in names}
    elif path.is_file():
        if not path.name.lower().endswith((*ARCHIVES, ".npz")):
            raise UserError(
                f"{path}: unknown kind of file; give a folder, a zip or tar of pictures, or an .npz"
            )
        folder, names, sha256 = path.parent, [path.name], file_digest(path)
    else:
        raise UserError(f"{path} does not exist; fix the path")
    notes: list[str] = []
    node = {"task": "image", "source": {"path": str(path), "sha256": sha256}}

    def attempt(node: dict[str, Any]) -> Schema:
        """Go through preprocessing without a judge."""
        return process(ImageDataset.model_validate(node), folder, names, "", folder).schema

    schema = rehearse(attempt, node, notes)
    if schema is not None:
        counts = ", ".join(f"{count} {part}" for part, count in schema.counts.items())
        few = ", ".join(schema.classes[:6]) + (", ..." if len(schema.classes) > 6 else "")
        notes += [f"{r.kind}: {r.count} {r.detail}" for r in schema.repairs]
        notes.append(
            f"{' x '.join(map(str, schema.shape))} (channels x height x width), "
            f"{schema.levels} levels; {len(schema.classes)} classes ({few}); {counts}"
        )
    return Proposal(node, tuple(notes), schema is not None)


def _names(folder: Path) -> list[str]:
    """Files of a folder that belong to its pictures, relative, in order.

    Raises:
        UserError: there are too many to be listed, or none.
    """
    files = (file for file in folder.rglob("*") if file.is_file())
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    names = [name for name in names if not junk(name)]
    pictures = [name for name in names if name.lower().endswith(SUFFIXES)]
    if len(pictures) > LOOSE:
        raise UserError(
            f"{folder} holds {len(pictures)} pictures, which is too many to list one by one; pack "
            f"them and add the zip: (cd {folder} && python -m zipfile -c ../{folder.name}.zip *)"
        )
    others = [name for name in names if IDX.search(name.lower()) or name.endswith(".bin")]
    found = pictures or others + [n for n in names if others and n.endswith("batches.meta.txt")]
    if not found:
        few = ", ".join(names[:4]) or "nothing"
        raise UserError(
            f"{folder}: no pictures among {few}; give PNG or JPEG files in a folder for each "
            "class, idx files or CIFAR-10's .bin files"
        )
    return found
