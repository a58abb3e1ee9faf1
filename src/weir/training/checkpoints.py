"""Checkpoint files: safetensors with a JSON record in the header, whole or absent, never a pickle.

`<folder>/last.safetensors` is what a training resumes from, unless `interrupted` (saved on a
signal) is further; `best` holds the selected weights so far, for people; `error` holds the state
before a step that failed; `finished` holds the result of a complete training.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from weir.errors import WeirError

Kind = Literal["last", "best", "interrupted", "error", "finished"]
KINDS: tuple[Kind, ...] = ("last", "best", "interrupted", "error", "finished")
FORMAT = 1
"""Version of the layout of a checkpoint; another version is refused."""


class DamagedCheckpoint(WeirError):
    """A checkpoint that cannot be read; the message names the file and the reason."""


def checkpoint_file(folder: Path, kind: Kind) -> Path:
    """The file of a kind of checkpoint."""
    return folder / f"{kind}.safetensors"


def write_checkpoint(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write one checkpoint: under another name first, forced to the disk, then renamed.

    Whatever happens on the way, power cut included, `path` is the old file or the new one.

    Args:
        path: the file.
        tensors: on the CPU, contiguous, sharing no memory.
        record: anything JSON can hold; floats come back bit for bit.

    Raises:
        WeirError: the disk is full, or the folder cannot be written.
    """
    header = {"format": FORMAT, "checksum": _checksum(tensors), "record": record}
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(header, allow_nan=False)
        save_file(tensors, temporary, metadata={"weir": text})
        _force_to_disk(temporary)
        os.replace(temporary, path)
        _force_to_disk(path.parent)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        kept = "; the checkpoint before is intact" if path.exists() else ""
        raise WeirError(
            f"cannot write checkpoint {path}: {error}{kept}; make room, then run again to resume"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """The record alone, without reading the tensors.

    Raises:
        DamagedCheckpoint: the file cannot be read.
    """
    record: dict[str, Any] = _header(path)["record"]
    return record


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a checkpoint, proved whole by its checksum.

    Raises:
        DamagedCheckpoint: the file cannot be read, or differs from what was written.
    """
    header = _header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {error}") from error
    if _checksum(tensors) != header["checksum"]:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: its checksum does not match")
    return tensors, header["record"]


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["weir"])
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}, this version of Weir reads {FORMAT}")
        return {"checksum": header["checksum"], "record": header["record"]}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {error}") from error


def _checksum(tensors: dict[str, Tensor]) -> int:
    """CRC-32 over names, shapes and bytes."""
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.writing")


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
