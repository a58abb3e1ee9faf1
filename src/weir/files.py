"""Files that are whole or absent, written beside their place and then renamed, and their digests.

By its SHA-256 raw data is checked, and of it fingerprints are made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weir.errors import UserError


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

    Folders left by processes that were killed while they wrote this output are removed.

    Args:
        file: where the output is a single file, its name in the temporary folder.

    Raises:
        UserError: the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.part-"))
        lock = os.open(temporary, os.O_RDONLY)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot be written to ({error.strerror}); free space or fix its "
            "permissions, then run the stage again"
        ) from error
    try:
        _lock(lock)
        os.chmod(temporary, 0o777 & ~_umask())
        yield temporary
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        os.replace(temporary / file if file else temporary, path)
    finally:
        os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary folders of `path` whose writer is dead, and with it its lock."""
    for folder in path.parent.glob(f".{path.name}.part-*"):
        handle = os.open(folder, os.O_RDONLY)
        try:
            if _lock(handle):
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
