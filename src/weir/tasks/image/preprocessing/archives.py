"""Files of a raw folder, or of the one archive in it, read in one pass without unpacking."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from weir.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)
"""What damaged archives and packed files raise."""


class Members(ABC):
    """Named files.

    Attributes:
        where: folder or archive, for messages.
        names: of the files, in the order of `streams`.
    """

    def __init__(self, where: str, names: list[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise UserError(f"{where}, {name}: it is in there twice; pack the files again")
            seen.add(name)
        self.where = where
        self.names = names

    @abstractmethod
    def streams(self, chosen: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
        """Name and content of the chosen files, one after the other."""


class _Folder(Members):
    def __init__(self, folder: Path, names: list[str]) -> None:
        super().__init__(str(folder), sorted(name for name in names if not junk(name)))
        self._folder = folder

    def streams(self, chosen: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in self.names:
            if name in chosen:
                with (self._folder / name).open("rb") as stream:
                    yield name, stream


class _Zip(Members):
    def __init__(self, file: Path, archive: zipfile.ZipFile) -> None:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        secret = next((info.filename for info in infos if info.flag_bits & 1), None)
        if secret is not None:
            raise UserError(f"{file}, {secret}: it is encrypted; pack it without a password")
        super().__init__(str(file), [i.filename for i in infos if not junk(i.filename)])
        self._archive = archive

    def streams(self, chosen: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in self.names:
            if name in chosen:
                with self._archive.open(name) as stream:
                    yield name, stream


class _Tar(Members):
    def __init__(self, file: Path, archive: tarfile.TarFile) -> None:
        # Links and devices are no regular files, and are passed over.
        self._members = [m for m in archive.getmembers() if m.isfile() and not junk(m.name)]
        super().__init__(str(file), [m.name for m in self._members])
        self._archive = archive

    def streams(self, chosen: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
        for member in self._members:
            if member.name in chosen:
                stream = self._archive.extractfile(member)
                assert stream is not None
                with stream:
                    yield member.name, stream


@contextmanager
def open_members(folder: Path, names: list[str]) -> Iterator[Members]:
    """The files `names` of a folder; if it is one archive, the files in that.

    Raises:
        UserError: an archive is damaged or encrypted, or stands beside other files; one line.
    """
    archives = [name for name in names if name.lower().endswith(ARCHIVES)]
    if not archives:
        yield _Folder(folder, names)
        return
    file = folder / archives[0]
    if len(names) > 1:
        raise UserError(f"{file}: an archive must be the only file; put everything into one")
    try:
        if file.suffix.lower() == ".zip":
            with zipfile.ZipFile(file) as pack:
                yield _Zip(file, pack)
        else:
            with tarfile.open(file) as tape:
                yield _Tar(file, tape)
    except DAMAGE as error:
        raise UserError(f"{file} is damaged ({_first_line(error)}); get it again") from None


def slashed(name: str) -> str:
    """A name in an archive with `/` between folders, also where Windows packed it."""
    return name.replace("\\", "/")


def junk(name: str) -> bool:
    """Whether a file is one that systems leave behind."""
    parts = PurePosixPath(slashed(name)).parts
    return any(part.startswith(".") and part != "." for part in parts) or bool(
        {"__MACOSX", "Thumbs.db", "desktop.ini"} & set(parts)
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
