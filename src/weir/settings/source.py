"""Source of a dataset's raw files, the `source:` block of a datasets node, for `weir fetch`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Generic, Literal, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import Field, StringConstraints, model_validator

from weir.settings.base import Config

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hexadecimal."""

Simulator = TypeVar("Simulator", bound=Config)
"""Settings of a task's simulator."""


class Files(Config):
    """A file, or the named files of a folder, each with its SHA-256.

    With one SHA-256, `path`, `url` and `mirror` name the file; with a mapping of relative paths
    to SHA-256s they name the folder that holds those files.
    """

    path: str | None = Field(None, description="Local file or folder; excludes `url` and `mirror`.")
    url: str | None = Field(
        None, pattern=r"^https?://", description="Public address of the file or folder."
    )
    mirror: str | None = Field(
        None, description="Place below the folder WEIR_DATA_MIRROR, looked at before `url`."
    )
    sha256: Sha256 | dict[str, Sha256] = Field(
        description="SHA-256 of the file, or of each file of the folder by relative path."
    )
    gzip: bool = Field(
        False,
        description="The files lie there with `.gz` behind their names and are unpacked; `sha256` "
        "is of what is in them, whoever packed it. Only with a mapping.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is not None) == (self.url is not None or self.mirror is not None):
            raise ValueError("give either `path`, or `url` and/or `mirror`")
        for name in [self.mirror or "x", *self.hashes]:
            place = PurePosixPath(name)
            if not place.name or place.is_absolute() or ".." in place.parts:
                raise ValueError(f"{name!r} must be a relative path without '..'")
        if self.gzip and not isinstance(self.sha256, dict):
            raise ValueError("`gzip` needs a mapping: give `sha256` by file name, without .gz")
        return self

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each raw file by its path in the raw folder."""
        if isinstance(self.sha256, dict):
            return self.sha256
        if self.path is not None:
            return {PurePosixPath(self.path).name: self.sha256}
        if self.url is not None:
            return {PurePosixPath(unquote(urlsplit(self.url).path)).name: self.sha256}
        return {PurePosixPath(self.mirror or "").name: self.sha256}

    def place(self, root: str, name: str) -> str:
        """Address below `root` (the `path`, `url` or `mirror`) of the raw file `name`."""
        if not isinstance(self.sha256, dict):
            return root
        return f"{root.rstrip('/')}/{name}" + (".gz" if self.gzip else "")


class Bundled(Config):
    """A set that a dependency of Weir ships."""

    bundled: Literal["digits"] = Field(
        description="Which: scikit-learn's 1797 digits of 8 x 8 pixels."
    )


class Simulated(Config, Generic[Simulator]):
    """A source that is simulated instead of fetched."""

    simulator: Simulator = Field(description="Settings of the simulator.")


def source_kind(source: object) -> str:
    """`simulator` or `files`: the discriminator of a source that a task can also simulate."""
    if isinstance(source, dict):
        return "simulator" if "simulator" in source else "files"
    return "simulator" if isinstance(source, Simulated) else "files"
