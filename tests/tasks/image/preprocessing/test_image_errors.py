"""What is wrong with a user's pictures is said in one line that names the place and the cure."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import cifar, idx, npz, pictures, png, process_files, tarred, tree, zipped
from PIL import Image
from pydantic import ValidationError

from weir.errors import UserError
from weir.tasks.image.preprocessing import pictures as pictures_module
from weir.tasks.image.preprocessing.folders import sort_out
from weir.tasks.image.preprocessing.idx import read_array
from weir.tasks.image.settings.dataset import ImageDataset

GREY, LABEL = pictures(40, 6, 5), np.arange(40) % 2
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def refusal(tmp_path: Path, files: dict[str, bytes], **node: object) -> str:
    """The one line with which preprocessing refuses files."""
    with pytest.raises(UserError) as error:
        process_files(tmp_path, files, **node)
    assert "\n" not in str(error.value)
    return str(error.value)


def header(*shape: int, kind: int = 8) -> bytes:
    return b"\0\0" + bytes([kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def secret() -> bytes:
    """A zip that says of its file that it is encrypted."""
    content = bytearray(zipped({"a/x.png": b"x"}))
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + place] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"\x89PNG is this", r"images-idx3-ubyte.gz: no idx file .+magic number 89504e47"),
        (b"", r"magic number none"),
        (header(2, 2, 2, kind=13) + bytes(32), r"type 0x0d, not bytes"),
        (header(40, 6, 5)[:9], r"breaks off in its header"),
        (header(40, 6, 5) + bytes(1199), r"breaks off after 1199 of 1200 bytes; get it again"),
        (header(40, 6, 5) + bytes(1201), r"goes on after its 1200 bytes"),
        (gzip.compress(idx(GREY))[:-20], r"is damaged|magic number"),
        (idx(GREY)[:-9], r"is damaged \(Compressed file ended"),
        (idx(GREY)[:600] + b"?" * 50 + idx(GREY)[650:], r"is damaged \("),
        (header(1 << 30, 1 << 10, 1 << 10), r"take 1048576\.0 GiB, at most 4 fit"),
        (header(0, 6, 5), r"there are no pictures"),
        (idx(GREY[:30]), r"40 labels, but 30 pictures; the files do not belong together"),
        (idx(LABEL), r"holds labels of the train split too"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, images, message):
    text = refusal(tmp_path, {IMAGES: images, LABELS: idx(LABEL)})
    assert re.search(message, text), text


def test_idx_files_without_a_partner(tmp_path: Path):
    assert "no labels of the train split; add" in refusal(tmp_path, {IMAGES: idx(GREY)})


@given(content=st.binary(max_size=40), packed=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_array_or_one_line(content: bytes, packed: bool):
    content = b"\0\0\x08" + content
    try:
        array = read_array(io.BytesIO(gzip.compress(content) if packed else content), "x")
    except UserError as error:
        assert str(error).startswith("x")
    else:
        assert content.endswith(array.tobytes())


def test_labels_without_a_name(tmp_path: Path):
    files = {IMAGES: idx(GREY), LABELS: idx(np.arange(40) % 4)}
    text = refusal(tmp_path, files, classes=["a", "b", "c"])
    assert "picture 3: its label is 3, but `classes` names 0 to 2 (10 such labels)" in text


def test_a_split_that_the_files_have_is_not_asked_for(tmp_path: Path):
    files = {IMAGES: idx(GREY), LABELS: idx(LABEL)}
    files |= {name.replace("train", "t10k"): content for name, content in files.items()}
    assert "unset `split.test`" in refusal(tmp_path, files, split={"test": 0.2})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * 4000, "4000 bytes are no whole number of CIFAR-10's records of 3073"),
        (b"", "0 bytes are no whole number"),
        (cifar(pictures(3, 3, 32, 32), np.array([1, 99, 0])), "picture 1: its label is 99"),
    ],
)
def test_damaged_cifar_files(tmp_path: Path, content, message):
    assert message in refusal(tmp_path, {"data_batch_1.bin": content})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY}, "no `images` and `labels` among images"),
        ({"images": GREY / 255.0, "labels": LABEL}, "are no levels of 0 to 255; save"),
        ({"images": GREY.astype(int) - 9, "labels": LABEL}, "int64 from -9 to"),
        ({"images": GREY, "labels": LABEL[:-1]}, "(39,), but there are 40 pictures"),
        ({"images": GREY, "labels": LABEL / 2}, "float64 are no classes"),
        ({"images": GREY.reshape(40, 30), "labels": LABEL}, "shape (40, 30) is not [item,"),
        ({"images": pictures(4, 5, 5, 2), "labels": LABEL[:4]}, "neither 1 channel nor 3"),
        ({"images": GREY[:0], "labels": LABEL[:0]}, "there are no pictures in it"),
        ({"images": GREY.astype(object), "labels": LABEL}, "Python objects, which could run code"),
        ({"images": GREY, "labels": LABEL, "levels": 17}, "but there are 17 (0 to 16)"),
    ],
)
def test_arrays_of_another_form(tmp_path: Path, arrays, message):
    assert message in refusal(tmp_path, {"set.npz": npz(**arrays)})


def test_an_npz_that_is_none(tmp_path: Path):
    assert "set.npz cannot be read" in refusal(tmp_path, {"set.npz": b"nothing"})
    whole = npz(images=GREY, labels=LABEL)
    assert "cannot be read" in refusal(tmp_path, {"set.npz": whole[: len(whole) // 2]})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("set.zip", b"PK no zip", "set.zip is damaged (File is not a zip file); get it again"),
        ("set.zip", zipped(tree())[:900], "set.zip is damaged"),
        ("set.tar.gz", tarred(tree())[:900], "set.tar.gz is damaged"),
        ("set.tgz", b"\x1f\x8bno", "set.tgz is damaged"),
        ("set.zip", secret(), "a/x.png: it is encrypted"),
        ("set.zip", zipped({"readme.txt": b"hello"}), "no pictures among readme.txt"),
        ("set.zip", zipped({}), "no pictures among nothing"),
    ],
)
def test_archives_that_cannot_be_read(tmp_path: Path, name, content, message):
    assert message in refusal(tmp_path, {name: content})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_an_archive_has_twice(tmp_path: Path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for content in tree().values():
            archive.writestr("a/x.png", content)
    assert "a/x.png: it is in there twice" in refusal(tmp_path, {"a.zip": stream.getvalue()})


def test_an_archive_stands_alone(tmp_path: Path):
    files = {"a.zip": zipped(tree()), "b.zip": zipped(tree())}
    assert "must be the only file" in refusal(tmp_path, files)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (b"no picture", "dog/odd.png is not a picture (no known format); fix it, or set `broken:"),
        (png(GREY[0])[:60], "dog/odd.png is not a picture ("),
        (png(pictures(1, 4, 5)[0]), "has 4 x 5 pixels (height x width), but cat/000.png has 5 x 4"),
        (png(pictures(1, 5, 4, 3)[0]), "is in colour, but cat/000.png is grey; set `grey: true`"),
        (png(pictures(1, 5, 4, 4)[0]), "has transparent pixels"),
        (png(pictures(1, 5, 4)[0].astype("uint16") * 9), "has more than 8 bits"),
        (png(np.full((5, 4), 7, "uint8")), "every pixel is 7 (1 such pictures); set `constant:"),
    ],
)
def test_one_odd_picture_is_named(tmp_path: Path, odd, message):
    assert message in refusal(tmp_path, tree() | {"dog/odd.png": odd})


def test_a_picture_with_too_many_pixels_is_not_decoded(tmp_path: Path):
    stream = io.BytesIO()
    Image.new("1", (9_000, 8_000)).save(stream, "PNG")
    text = refusal(tmp_path, tree() | {"dog/odd.png": stream.getvalue()})
    assert "dog/odd.png" in text


def test_broken_and_constant_pictures_can_be_left_out(tmp_path: Path):
    odd = {"dog/odd.png": b"no picture", "cat/flat.png": png(np.zeros((5, 4), "uint8"))}
    data = process_files(tmp_path, tree() | odd, broken="drop", constant="drop")
    assert len(data.items) == 40
    assert [(r.kind, r.count) for r in data.schema.repairs] == [("left out", 1), ("constant", 1)]
    data = process_files(tmp_path, tree() | odd, broken="drop", constant="keep")
    assert len(data.items) == 41


def test_nothing_but_broken_or_constant_pictures(tmp_path: Path):
    files = {f"a/{i}.png": b"x" for i in range(9)}
    assert "none of 9 files" in refusal(tmp_path, files, broken="drop")
    files = {f"a/{i}.png": png(np.full((2, 2), 5, "uint8")) for i in range(9)}
    assert "every picture is of one level" in refusal(tmp_path, files, constant="drop")
    assert "every training pixel is 5" in refusal(tmp_path, files, constant="keep")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (tree() | tree(3, ("few",)), "class 'few' has 3 pictures, of which 0 in validation"),
        (tree() | {"deep/" + n: c for n, c in tree().items()}, "lie at different depths"),
        (
            {f"{top}/{n}": c for top in "ab" for n, c in tree().items()},
            "in different folders above their class",
        ),
    ],
)
def test_trees_that_tell_no_classes(tmp_path: Path, files, message):
    assert message in refusal(tmp_path, files)


@given(
    st.lists(
        st.lists(st.sampled_from(["train", "TEST", "a", "1", "2"]), max_size=4).map(
            lambda parts: "/".join([*parts, "x.png"])
        ),
        min_size=1,
    )
)
def test_any_tree_tells_a_class_for_each_picture_or_one_line(names: list[str]):
    try:
        classes, label, part = sort_out(names, "here")
    except UserError as error:
        assert str(error).startswith("here: ")
        return
    assert len(label) == len(part) == len(names)
    assert set(label.tolist()) == set(range(len(classes)))
    for name, number, code in zip(names, label, part, strict=True):
        path = name.split("/")
        assert classes[number] == (path[-2] if len(path) > 1 else "all")
        if code >= 0:
            assert path[-3].lower() == ("train", "", "test")[code]


def test_names_that_are_not_the_folders(tmp_path: Path):
    text = refusal(tmp_path, tree(), classes=["cat", "cow"])
    assert "(cat, dog) differ in cow, dog" in text


def test_the_same_picture_under_two_classes_is_noted(tmp_path: Path):
    files = tree()
    files["dog/twin.png"] = files["cat/000.png"]
    repairs = process_files(tmp_path, files).schema.repairs
    assert ("duplicates", 1) in [(r.kind, r.count) for r in repairs]
    assert any("of another class" in r.detail for r in repairs)


def test_more_than_memory_is_refused_before_it_is_taken(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pictures_module, "MOST_BYTES", 500)
    assert "40 pictures of 1 x 5 x 4 take" in refusal(tmp_path, tree())


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"classes": ["a", "a"]}, "classes names a class twice"),
        ({"source": {"bundled": "digits"}, "size": [4, 4]}, "size is only for pictures in files"),
        ({"source": {"bundled": "faces"}}, "'digits'"),
        ({"source": {"simulator": {"kind": "rings"}}}, "'moons', 'spirals'"),
        ({"levels": 1}, "greater than or equal to 2"),
        ({"split": {"test": 1.0}}, "less than 1"),
    ],
)
def test_settings_that_make_no_sense(node, message):
    base = {"task": "image", "source": {"path": "a.zip", "sha256": "0" * 64}}
    with pytest.raises(ValidationError) as error:
        ImageDataset.model_validate(base | node)
    assert message in str(error.value)


def test_a_file_that_a_zip_says_is_whole_but_is_not(tmp_path: Path):
    """A stored picture whose bytes have changed: its check sum tells."""
    content = bytearray(zipped(tree()))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.getinfo("cat/003.png")
    content[info.header_offset + 90] ^= 255
    assert "cat/003.png" in refusal(tmp_path, {"set.zip": bytes(content)})
