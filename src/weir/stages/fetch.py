"""Stage `fetch`: a dataset's raw files, from disk, a mirror, its URL, a dependency or a simulator.

    weir fetch etth1

Fills `data/raw/<dataset>/` with the files and `source.json`, which says where they come from and
their SHA-256 and size, and nothing that changes between two fetches of the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from weir.artifacts.raw_folder import RawFolder
from weir.errors import UserError
from weir.settings.source import Bundled, Files
from weir.tasks import part

MIRROR = "WEIR_DATA_MIRROR"
"""Environment variable that names a folder looked into before any URL."""

ATTEMPTS = 4
PAUSE_S = 1.0
"""Pause before the second attempt at a download; it doubles with each further one."""

TIMEOUT_S = (10, 60)
"""Seconds to connect, and between two pieces of an answer."""

CHUNK = 1 << 20


class FetchPaths(Protocol):
    """What this stage is told about the file system."""

    output: Path


def run(
    config: Any,
    paths: FetchPaths,
    tracker: Any = None,
    *,
    name: str = "",
    task: str = "",
    seed: int = 0,
) -> None:
    """Fetch or simulate the raw data of a `datasets` node into the folder `paths.output`.

    Raises:
        UserError: the data cannot be had, or is not what `sha256` promises; one line.
    """
    del tracker, name, task, seed  # Nothing is measured here.
    source = config.source
    if isinstance(source, Files):
        origin = source.path or source.url or f"{MIRROR}/{source.mirror}"
        for name, sha256 in source.hashes.items():
            obtain(source, name, sha256, paths.output / name)
        names = list(source.hashes)
    elif isinstance(source, Bundled):
        origin = f"bundled {source.bundled}"
        names = part(config.task, "simulation.bundled").write(source.bundled, paths.output)
    else:
        origin = "simulator"
        names = part(config.task, "simulation.simulate").simulate(source.simulator, paths.output)
    RawFolder.record(paths.output, origin, names)


def obtain(source: Files, name: str, sha256: str, target: Path) -> None:
    """Copy or download one raw file to `target`, checking its SHA-256 on the way."""
    target.parent.mkdir(parents=True, exist_ok=True)
    local = _local(source, name)
    if local is not None:
        where = str(local)
        found = _from_disk(local, target, source.gzip)
    else:
        assert source.url is not None
        where = source.place(source.url, name)
        found = download(where, target, _mirror_hint(source, name), source.gzip)
    if found != sha256:
        raise UserError(
            f"{where}: SHA-256 is {found}, expected {sha256}: the file is damaged or has changed; "
            "get it again, or set `sha256` if the new one is right"
        )


def download(url: str, target: Path, hint: str = "", packed: bool = False) -> str:
    """Stream a URL to a file, trying again when the network or the server fails; its SHA-256.

    Args:
        url: address.
        target: the file to write.
        hint: what else the user can do, for messages.
        packed: whether to unpack what comes with gzip.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        try:
            with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
                if answer.status_code >= 500 or answer.status_code == 429:
                    problem = f"the server answers {answer.status_code} {answer.reason}"
                    continue
                if not answer.ok:
                    raise UserError(
                        f"{url}: the server answers {answer.status_code} {answer.reason}; "
                        f"fix `url`{hint}"
                    )
                chunks = answer.iter_content(CHUNK)
                if packed:
                    return _save(_unpacked(chunks, url), target, None)
                return _save(chunks, target, int(answer.headers.get("Content-Length", 0)) or None)
        except requests.RequestException as error:
            problem = _reason(error)
    raise UserError(
        f"{url}: no download after {ATTEMPTS} attempts ({problem}); check the network{hint}"
    )


def _local(source: Files, name: str) -> Path | None:
    """The file on disk, in `path` or the mirror; None if it has to be downloaded."""
    if source.path is not None:
        local = Path(source.place(source.path, name)).expanduser()
        if not local.is_file():
            raise UserError(f"{local} does not exist or is no file; fix `source.path`")
        return local
    root = os.environ.get(MIRROR)
    if source.mirror is not None and root:
        local = Path(root).expanduser() / source.place(source.mirror, name)
        if local.is_file():
            return local
    if source.url is None:
        looked = f"there is none in {root}" if root else f"{MIRROR} is not set"
        raise UserError(
            f"{source.place(source.mirror or '', name)} is only in a mirror, but {looked}; set "
            f"{MIRROR} to the folder that holds it"
        )
    return None


def _mirror_hint(source: Files, name: str) -> str:
    if source.mirror is None:
        return ""
    place = source.place(source.mirror, name)
    return f", or save the file as {place} in a folder and set {MIRROR} to that"


def _from_disk(local: Path, target: Path, packed: bool) -> str:
    try:
        with local.open("rb") as file:
            chunks = iter(lambda: file.read(CHUNK), b"")
            if packed:
                return _save(_unpacked(chunks, str(local)), target, None)
            return _save(chunks, target, local.stat().st_size)
    except PermissionError:
        raise UserError(f"{local} may not be read; change its permissions") from None


def _unpacked(chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """What gzip packed, piece by piece.

    Raises:
        UserError: it is not packed with gzip, or not whole.
    """
    # 31 asks zlib for gzip's header and check sum.
    unpacker = zlib.decompressobj(31)
    try:
        for chunk in chunks:
            while chunk:
                yield unpacker.decompress(chunk, CHUNK)
                chunk = unpacker.unconsumed_tail
    except zlib.error as error:
        raise UserError(
            f"{where} cannot be unpacked ({error}); get it again, or leave out `gzip`"
        ) from None
    if not unpacker.eof:
        raise UserError(f"{where} breaks off; get it again")


def _save(chunks: Iterable[bytes], target: Path, size: int | None) -> str:
    """Write chunks to a file; returns their SHA-256."""
    digest = hashlib.sha256()
    try:
        with target.open("wb") as file:
            for chunk in _shown(chunks, target.name, size):
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{target.parent}: the disk is full while writing {target.name}; free some space"
            ) from None
        raise
    return digest.hexdigest()


def _shown(chunks: Iterable[bytes], name: str, size: int | None) -> Iterator[bytes]:
    """The same chunks, with a progress bar on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        bar = progress.add_task(name, total=size)
        for chunk in chunks:
            yield chunk
            progress.advance(bar, len(chunk))


def _reason(error: requests.RequestException) -> str:
    """The innermost cause of a failed request, on one line."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return (str(cause) or type(cause).__name__).splitlines()[0]
