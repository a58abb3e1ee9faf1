"""A node is proposed for a user's pictures, and it preprocesses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from image_files import cifar, idx, npz, pictures, png, put, tarred, tree, zipped

from weir.errors import UserError
from weir.tasks.image.preprocessing import describe as module
from weir.tasks.image.preprocessing.describe import describe
from weir.tasks.image.preprocessing.preprocess import process
from weir.tasks.image.settings.dataset import ImageDataset

LABEL = np.arange(40) % 2


def usable(path: Path) -> tuple[dict, str]:
    """The node of a proposal that is usable, and its notes as one text."""
    proposal = describe(path)
    assert proposal.usable, proposal.notes
    config = ImageDataset.model_validate(proposal.node)
    folder = path if path.is_dir() else path.parent
    process(config, folder, list(config.source.hashes), "", folder)
    return proposal.node, "\n".join(proposal.notes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.zip", zipped(tree())),
        ("set.tar.gz", tarred(tree())),
        ("set.npz", npz(images=pictures(40, 5, 4), labels=LABEL)),
    ],
)
def test_one_file(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    node, notes = usable(tmp_path / name)
    assert node == {
        "task": "image",
        "source": {
            "path": str(tmp_path / name),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
    }
    assert "1 x 5 x 4 (channels x height x width), 256 levels; 2 classes" in notes
    assert "28 train, 4 validation, 8 test" in notes


@pytest.mark.parametrize(
    "files",
    [
        {
            "train-images-idx3-ubyte.gz": idx(pictures(40, 5, 4)),
            "train-labels-idx1-ubyte": idx(LABEL),
        },
        {"data_batch_1.bin": cifar(pictures(40, 3, 32, 32), LABEL), "batches.meta.txt": b"a b"},
        tree(),
    ],
)
def test_a_folder_lists_its_files_and_nothing_else(tmp_path: Path, files):
    put(tmp_path, files | {".DS_Store": b"x", "notes.md": b"x"})
    node, _ = usable(tmp_path)
    assert node["source"]["sha256"] == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


def test_what_can_be_mended_is(tmp_path: Path):
    odd = {"dog/odd.png": b"x", "cat/flat.png": png(np.zeros((5, 4), "uint8"))}
    put(tmp_path, tree() | odd)
    node, notes = usable(tmp_path)
    assert (node["broken"], node["constant"]) == ("drop", "drop")
    assert "left out: 1 cannot be read as pictures: dog/odd.png" in notes


def test_what_cannot_is_told(tmp_path: Path):
    put(tmp_path, tree(shape=(5, 4)) | tree(classes=("eel",), shape=(6, 6)))
    proposal = describe(tmp_path)
    assert not proposal.usable
    assert "not usable yet: " in proposal.notes[0]
    assert "set `size`, e.g. [5, 4]" in proposal.notes[0]


def test_many_loose_pictures_are_to_be_packed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "LOOSE", 39)
    put(tmp_path / "mine", tree())
    with pytest.raises(UserError, match=r"40 pictures, .+ python -m zipfile -c \.\./mine\.zip \*"):
        describe(tmp_path / "mine")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "does not exist; fix the path"),
        ("table.csv", "unknown kind of file; give a folder"),
        ("empty", "no pictures among nothing"),
    ],
)
def test_what_holds_no_pictures(tmp_path: Path, name, message):
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        describe(tmp_path / name)
