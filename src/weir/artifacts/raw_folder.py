"""Raw folders: a dataset's files as they were fetched, and `source.json`, which lists them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from weir.artifacts.description import check_typed, read_typed
from weir.errors import UserError
from weir.files import file_digest

SOURCE = "source.json"

NAME_FIRST = "{name} {sha256}\n"
HASH_FIRST = "{sha256}  {name}\n"
"""Lines of the text whose SHA-256 stands for several files; `sha256sum` prints the second. Hashes
of both kinds stand in schemas that were written, so neither may change."""

_ADVICE = "rerun weir fetch"


@dataclass(frozen=True)
class RawFile:
    """A raw file.

    Attributes:
        name: path within the folder.
        sha256: of its content.
        bytes: its size.
    """

    name: Annotated[str, StringConstraints(min_length=1)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class RawFolder:
    """The contents of `source.json`; nothing in it changes between two fetches of the same bytes.

    Attributes:
        origin: path, address or simulator that the files come from.
        files: all of them, the main one first.
    """

    origin: str
    files: Annotated[tuple[RawFile, ...], Field(min_length=1)]

    @classmethod
    def record(cls, folder: Path, origin: str, names: list[str]) -> RawFolder:
        """Write `source.json` for the files `names`, which lie in the folder.

        Raises:
            WeirError: there is none.
        """
        files = (
            RawFile(name, file_digest(folder / name), (folder / name).stat().st_size)
            for name in names
        )
        found = cls(origin, tuple(files))
        text = json.dumps(asdict(found), indent=1)
        check_typed(cls, folder / SOURCE, text)
        (folder / SOURCE).write_text(text + "\n")
        return found

    @classmethod
    def read(cls, folder: Path) -> RawFolder:
        """Read `source.json`; every file that it lists is there and has its size.

        Raises:
            UserError: `source.json` or a file is missing or damaged.
        """
        found = read_typed(cls, folder / SOURCE, _ADVICE)
        for file in found.files:
            path = folder / file.name
            if not path.is_file():
                raise UserError(f"{path} is missing, but listed in {SOURCE}; {_ADVICE}")
            if (size := path.stat().st_size) != file.bytes:
                raise UserError(f"{path} has {size} bytes, but {file.bytes} by {SOURCE}; {_ADVICE}")
        return found

    @property
    def main(self) -> RawFile:
        """The first file: the data, where one file holds it."""
        return self.files[0]

    @property
    def names(self) -> list[str]:
        """Names of the files, in order."""
        return sorted(file.name for file in self.files)

    def combined(self, line: str) -> str:
        """SHA-256 over names and SHA-256s of the files in order of name.

        Args:
            line: `NAME_FIRST` or `HASH_FIRST`.
        """
        ordered = sorted(self.files, key=lambda file: file.name)
        text = "".join(line.format(name=file.name, sha256=file.sha256) for file in ordered)
        return hashlib.sha256(text.encode()).hexdigest()
