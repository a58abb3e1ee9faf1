"""Pictures come out of every layout of raw files as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import (
    by_row,
    cifar,
    idx,
    npz,
    pictures,
    png,
    process_files,
    tarred,
    tree,
    zipped,
)
from PIL import Image

LABEL = np.arange(40) % 2
PARTS = ("train", "validation", "test")


def counts(data) -> list[int]:
    return [len(data.split(part)) for part in PARTS]


@pytest.fixture
def grey() -> np.ndarray:
    return pictures(40, 6, 5)


def test_idx_without_a_test_split_is_split_by_class(tmp_path: Path, grey):
    files = {"train-images-idx3-ubyte.gz": idx(grey), "train-labels-idx1-ubyte.gz": idx(LABEL)}
    data = process_files(tmp_path, files, classes=["even", "odd"])
    raw, label = by_row(data)
    assert (raw[:, 0] == grey).all()
    assert (label == LABEL).all()
    assert data.schema.shape == (1, 6, 5)
    assert data.schema.classes == ("even", "odd")
    # A fifth of each class's 20, then a tenth of its other 16.
    assert counts(data) == [28, 4, 8]
    assert data.split("test").label.sum() == 4


def test_the_test_files_of_idx_are_the_test_split(tmp_path: Path, grey):
    files = {
        "train-images-idx3-ubyte": idx(grey),
        "train-labels-idx1-ubyte": idx(LABEL),
        "t10k-images-idx3-ubyte": idx(grey[:10] // 2),
        "t10k-labels-idx1-ubyte": idx(LABEL[:10]),
    }
    data = process_files(tmp_path, files, split={"validation": 0.2})
    assert counts(data) == [32, 8, 10]
    test = data.split("test")
    assert sorted(test.row.tolist()) == list(range(40, 50))
    assert (test.raw[test.row.argsort(), 0].numpy() == grey[:10] // 2).all()


@pytest.mark.parametrize("packed", [True, False])
def test_cifar_keeps_its_planes_names_and_test_batch(tmp_path: Path, packed):
    array, label = pictures(60, 3, 32, 32), np.arange(60) % 10
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    files = {
        "x/test_batch.bin": cifar(array[40:], label[40:]),
        "x/data_batch_2.bin": cifar(array[20:40], label[20:40]),
        "x/data_batch_1.bin": cifar(array[:20], label[:20]),
        "x/batches.meta.txt": "\n".join(names).encode() + b"\n\n",
        "x/readme.html": b"<html>",
    }
    split = {"validation": 0.25}
    files = {"cifar.tar.gz": tarred(files)} if packed else files
    data = process_files(tmp_path, files, split=split)
    raw, _ = by_row(data)
    assert (raw == array).all()
    assert data.schema.classes == tuple(names)
    assert counts(data) == [30, 10, 20]


@pytest.mark.parametrize("pack", [None, "set.zip", "set.tar.gz"])
def test_folders_of_pictures_listed_or_packed(tmp_path: Path, pack):
    files = {"around/" + name: content for name, content in tree().items()}
    junk = {"around/.DS_Store": b"x", "__MACOSX/around/cat/._000.png": b"x", "around/notes": b"x"}
    files = dict(reversed(list((files | junk).items())))
    packs = {"set.zip": zipped, "set.tar.gz": tarred}
    data = process_files(tmp_path, files if pack is None else {pack: packs[pack](files)})
    raw, label = by_row(data)
    assert data.schema.classes == ("cat", "dog")
    assert (raw[:20, 0] == pictures(20, 5, 4, seed=0)).all()
    assert (label == [0] * 20 + [1] * 20).all()
    assert [(r.kind, r.count) for r in data.schema.repairs] == [("left out", 1)]


def test_folders_named_train_and_test_tell_the_parts(tmp_path: Path):
    files = {"train/" + name: content for name, content in tree().items()}
    files |= {"test/" + name: content for name, content in tree(3).items()}
    files |= {"val/" + name: content for name, content in tree(2).items()}
    data = process_files(tmp_path, {"set.zip": zipped(files)})
    assert counts(data) == [40, 4, 6]
    # The test and validation pictures are the first of the training ones.
    kinds = {(r.kind, r.count, r.detail.split(" ")[1]) for r in data.schema.repairs}
    assert {("leak", 6, "test"), ("leak", 4, "validation")} <= kinds


def test_a_zip_from_windows_has_folders_too(tmp_path: Path):
    files = {"set\\" + name.replace("/", "\\"): content for name, content in tree().items()}
    assert process_files(tmp_path, {"set.zip": zipped(files)}).schema.classes == ("cat", "dog")


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path):
    data = process_files(tmp_path, tree(classes=("10", "9", "2")))
    assert data.schema.classes == ("2", "9", "10")


def test_pictures_without_folders_are_one_class(tmp_path: Path):
    files = {name.replace("/", "-"): content for name, content in tree().items()}
    data = process_files(tmp_path, {"set.zip": zipped(files)}, judge={})
    assert data.schema.classes == ("all",)
    assert data.judge() is None


def test_colour_becomes_grey_and_sizes_alike(tmp_path: Path):
    files = tree(classes=("a",)) | tree(classes=("b",), shape=(8, 8, 3))
    data = process_files(tmp_path, files, size=[6, 6], grey=True)
    assert data.schema.shape == (1, 6, 6)
    wanted = Image.fromarray(pictures(20, 8, 8, 3)[0]).convert("L")
    raw, _ = by_row(data)
    assert (raw[20, 0] == np.asarray(wanted.resize((6, 6), Image.Resampling.LANCZOS))).all()
    assert process_files(tmp_path, files, size=[6, 6], grey=False).schema.shape == (3, 6, 6)


def test_a_turned_photo_is_turned_back(tmp_path: Path):
    image = Image.new("L", (8, 4))
    image.paste(255, (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").parent.mkdir(exist_ok=True)
    image.save(tmp_path / "a.jpg", exif=exif)
    files = {f"x/{i}.jpg": (tmp_path / "a.jpg").read_bytes() for i in range(10)}
    data = process_files(tmp_path, files)
    assert data.schema.shape == (1, 8, 4)
    assert data.items.raw[0, 0, 1].min() > 200
    assert data.schema.repairs[0].kind == "duplicates"


def test_npz_of_parts_with_channels_last_and_named_classes(tmp_path: Path):
    array, label = pictures(40, 6, 5, 3), np.array(["no", "yes"])[LABEL]
    content = npz(
        train_images=array[:20],
        train_labels=label[:20, None],
        test_images=array[20:],
        test_labels=label[20:, None],
    )
    data = process_files(tmp_path, {"set.npz": content})
    raw, found = by_row(data)
    assert (raw == array.transpose(0, 3, 1, 2)).all()
    assert data.schema.classes == ("no", "yes")
    assert (found == LABEL).all()
    assert len(data.split("test")) == 20


def test_npz_may_tell_its_levels_and_labels_need_not_be_gapless(tmp_path: Path, grey):
    content = npz(x=grey.astype("int64") % 17, y=3 + 4 * LABEL, levels=17)
    data = process_files(tmp_path, {"set.npz": content})
    assert data.schema.levels == 17
    assert data.schema.classes == ("3", "7")
    raw, label = by_row(data)
    assert (label == LABEL).all()
    assert (raw[:, 0] == grey % 17).all()


def test_a_palette_is_looked_up_and_an_opaque_alpha_forgotten(tmp_path: Path):
    colour = pictures(10, 4, 4, 3)
    opaque = np.concatenate([colour, np.full((10, 4, 4, 1), 255, "uint8")], 3)
    files = {f"a/{i}.png": png(array) for i, array in enumerate(opaque)}
    for i, array in enumerate(colour // 128 * 255):
        palette = Image.fromarray(array).quantize(8)
        palette.save(tmp_path / "p.png")
        files[f"b/{i}.png"] = (tmp_path / "p.png").read_bytes()
    raw, _ = by_row(process_files(tmp_path, files))
    assert (raw[:10] == colour.transpose(0, 3, 1, 2)).all()
    assert (raw[10:] == (colour // 128 * 255).transpose(0, 3, 1, 2)).all()
