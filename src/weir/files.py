"""Files that are whole or absent, written beside their place and then renamed, and their digests.

By its SHA-256 raw data is checked; of it fingerprints are made, and provenance is found by it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weir.errors import UserError


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


UNHASHED = (".snakemake_timestamp",)
"""Files in an artifact that are no part of it."""


def digest(value: Any) -> str:
    """SHA-256 of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        return file_digest(path)
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return digest(
        [
            (file.relative_to(path).as_posix(), file_digest(file))
            for file in files
            if file.name not in UNHASHED
        ]
    )


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see the old or the new content, never a part.

    Who may read and write it stays as it was: a group that shares a folder replaces one another's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0o666 & ~_umask()
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def whole_output(path: Path, file: str | None = None) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place if the block succeeds.

    Killed at any moment, it leaves at `path` the old output, the new one or nothing, never a part.
    Folders left by processes that were killed while they wrote this output are removed; an old
    output that one had just moved aside is put back.

    Args:
        file: where the output is a single file, its name in the temporary folder.

    Raises:
        UserError: the place cannot be written to.
    """
    # Named before it is made, so that a signal finds nothing that is not removed.
    temporary = path.with_name(f".{path.name}.part-{secrets.token_hex(4)}")
    lock = None
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path)
            temporary.mkdir()
            lock = os.open(temporary, os.O_RDONLY)
        except OSError as error:
            raise UserError(
                f"{path.parent}: cannot be written to ({error.strerror}); free space or fix its "
                "permissions, then run the stage again"
            ) from error
        _lock(lock)
        yield temporary
        _replace(temporary / file if file else temporary, path)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a file or a folder, of which a kill leaves nothing under its name but the whole."""
    if not _is_folder(path):
        path.unlink(missing_ok=True)
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name.lstrip('.')}.part-"))
    os.rename(path, aside / "removed")
    shutil.rmtree(aside)


def is_being_written(folder: Path) -> bool:
    """Whether a living process holds the lock of a temporary folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


ASIDE = ".part-old-"
"""In the name of a folder that holds an old output while the new one takes its place."""


def _replace(new: Path, path: Path) -> None:
    """Move `new` to `path`; what lies there is renamed aside first and deleted last.

    A file takes the place of a file in one step. A folder cannot, and to delete the old one takes
    time in which a kill would leave half of it.
    """
    if not os.path.lexists(path) or (new.is_file() and not _is_folder(path)):
        os.replace(new, path)
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{ASIDE}"))
    handle = os.open(aside, os.O_RDONLY)
    try:
        _lock(handle)
        os.rename(path, aside / path.name)
        try:
            os.rename(new, path)
        except BaseException:  # a signal, too
            if not os.path.lexists(path):
                os.rename(aside / path.name, path)
            raise
    finally:
        os.close(handle)
        shutil.rmtree(aside, ignore_errors=True)


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _remove_abandoned(path: Path) -> None:
    """Remove temporary folders of `path` whose writer is dead, and with it its lock."""
    for folder in path.parent.glob(f".{path.name}.part-*"):
        handle = os.open(folder, os.O_RDONLY)
        try:
            if _lock(handle):
                old = folder / path.name
                if ASIDE in folder.name and os.path.lexists(old) and not os.path.lexists(path):
                    os.rename(old, path)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Whether a folder could be locked; some network file systems cannot, and then nothing is."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
