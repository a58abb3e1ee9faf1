"""Small raw files in every layout, and the way from them to loaded data."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from weir.artifacts.raw_folder import RawFolder
from weir.tasks.image.data.load import ImageData, load
from weir.tasks.image.preprocessing.preprocess import preprocess
from weir.tasks.image.settings.dataset import ImageDataset


def pictures(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Random pictures `[item, *shape]` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype="uint8")


def idx(array: np.ndarray) -> bytes:
    """An array as an idx file, packed with gzip."""
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype("uint8").tobytes(), mtime=0)


def cifar(array: np.ndarray, label: np.ndarray) -> bytes:
    """Pictures `[item, 3, 32, 32]` and labels as CIFAR-10's records."""
    columns = [label.astype("uint8")[:, None], array.reshape(len(array), -1)]
    return np.concatenate(columns, 1).tobytes()


def png(array: np.ndarray, kind: str = "PNG") -> bytes:
    """A picture `[height, width(, 3 or 4)]` as a file."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    """Arrays as `numpy.savez` writes them."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    """Files in a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    """Files in a tar that gzip packed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tree(
    count: int = 20, classes: tuple[str, ...] = ("cat", "dog"), **form: Any
) -> dict[str, bytes]:
    """`<class>/<number>.png`: `count` random grey pictures of 5 x 4 for each class."""
    shape = form.get("shape", (5, 4))
    return {
        f"{name}/{i:03}.png": png(array)
        for seed, name in enumerate(classes)
        for i, array in enumerate(pictures(count, *shape, seed=seed))
    }


def put(folder: Path, files: dict[str, bytes]) -> list[dict[str, str]]:
    """Write files into a folder; their names and SHA-256s."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [{"name": n, "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()]


def process_files(tmp_path: Path, files: dict[str, bytes], **settings: Any) -> ImageData:
    """Preprocess raw files, without a judge unless asked for, and load the result."""
    raw, output = tmp_path / "raw", tmp_path / "processed" / "set"
    output.mkdir(parents=True, exist_ok=True)
    listed = put(raw, files)
    RawFolder.record(raw, "here", list(files))
    node = {
        "task": "image",
        "source": {"path": str(raw), "sha256": {f["name"]: f["sha256"] for f in listed}},
        "judge": None,
    }
    preprocess(ImageDataset.model_validate(node | settings), raw, output)
    return load(output)


def by_row(data: ImageData) -> tuple[np.ndarray, np.ndarray]:
    """All items and labels in the order of the raw files."""
    order = data.items.row.argsort()
    return data.items.raw[order].numpy(), data.items.label[order].numpy()
