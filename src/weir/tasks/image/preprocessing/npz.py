"""Pictures and labels in one `.npz`, as Keras, MedMNIST or `numpy.savez` write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from weir.errors import UserError
from weir.tasks.image.preprocessing.archives import DAMAGE
from weir.tasks.image.preprocessing.pictures import UNTOLD, Pictures, reform, room
from weir.tasks.image.settings.dataset import ImageDataset

PAIRS = {
    UNTOLD: (("images", "labels"), ("x", "y")),
    0: (("train_images", "train_labels"), ("x_train", "y_train")),
    1: (("val_images", "val_labels"), ("validation_images", "validation_labels")),
    2: (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""Names of pictures and labels, by part."""


def read_npz(file: Path, config: ImageDataset) -> Pictures:
    """Arrays `images` and `labels`, or pairs of them for each part.

    Raises:
        UserError: an array is missing, of another form, or would run code when read; one line.
    """
    pieces: list[tuple[np.ndarray, np.ndarray, int]] = []
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for part, pairs in PAIRS.items():
                for images, labels in pairs:
                    if images in arrays and labels in arrays:
                        shown = f"{file}, {images}"
                        pictures = reform(_pictures(arrays[images], shown), config, shown)
                        found = _labels(arrays[labels], len(pictures), f"{file}, {labels}")
                        pieces.append((pictures, found, part))
            levels = int(arrays["levels"]) if "levels" in arrays else 256
            names = ", ".join(arrays.files[:8])
    except (ValueError, TypeError, *DAMAGE) as error:
        text = str(error).splitlines()[0]
        if "allow_pickle" in text:
            text = "it holds Python objects, which could run code"
        raise UserError(f"{file} cannot be read ({text}); save plain arrays of numbers") from None
    if not pieces:
        raise UserError(
            f"{file}: no `images` and `labels` among {names or 'nothing'}; name them so, or "
            "train_images, train_labels, test_images and test_labels"
        )
    shapes = {images.shape[1:] for images, _, _ in pieces}
    if len(shapes) > 1:
        raise UserError(f"{file}: pictures of its parts differ in size; set `size`")
    label = np.concatenate([labels for _, labels, _ in pieces])
    classes = None
    if label.dtype.kind == "U":
        found, label = np.unique(label, return_inverse=True)
        classes = tuple(found.tolist())
    part = np.concatenate([np.full(len(labels), part) for _, labels, part in pieces])
    return Pictures(
        where=str(file),
        raw=np.concatenate([images for images, _, _ in pieces]),
        label=label.astype("int64"),
        part=part if len(pieces) > 1 else np.full(len(part), UNTOLD),
        classes=classes,
        levels=levels,
    )


def _pictures(array: np.ndarray, where: str) -> np.ndarray:
    """`[item, height, width, channel]` uint8."""
    if array.ndim not in (3, 4):
        raise UserError(
            f"{where}: shape {array.shape} is not [item, height, width(, channel)]; reshape it"
        )
    room(where, *array.shape)
    if array.dtype != np.uint8:
        whole = array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255
        if not whole:
            raise UserError(
                f"{where}: {array.dtype} from {array.min():.4g} to {array.max():.4g} are no levels "
                "of 0 to 255; save the pictures as uint8"
            )
        array = array.astype("uint8")
    if array.ndim == 3:
        return array[..., None]
    if array.shape[3] in (1, 3):
        return array
    if array.shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)
    raise UserError(f"{where}: shape {array.shape} has neither 1 channel nor 3; save grey or RGB")


def _labels(array: np.ndarray, count: int, where: str) -> np.ndarray:
    """`[item]` int64 or text."""
    flat = array.reshape(-1) if array.size == len(array) else array
    if flat.ndim != 1 or len(flat) != count:
        raise UserError(
            f"{where}: shape {array.shape}, but there are {count} pictures; give one each"
        )
    if flat.dtype.kind not in "iuU":
        raise UserError(f"{where}: {flat.dtype} are no classes; save whole numbers or text")
    return flat
