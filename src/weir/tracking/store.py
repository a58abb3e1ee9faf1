"""Store of runs: a server, or SQLite in the repository, set up once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger("weir.tracking")

URI_VARIABLE = "MLFLOW_TRACKING_URI"
SETUP_SECONDS = 300.0
"""Longest wait for another process that sets the database up."""

MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "GIT_PYTHON_REFRESH": "quiet",
    "OMP_NUM_THREADS": "1",
}
"""Environment of our MLflow processes: no phoning home, and short patience, as we try again."""


@dataclass(frozen=True)
class Store:
    """A tracking store.

    Attributes:
        uri: as MLflow takes it.
        artifacts: folder of artifacts if the store is a local database; a server knows its own.
    """

    uri: str
    artifacts: Path | None = None

    @property
    def database(self) -> Path | None:
        """File of a SQLite store."""
        prefix = "sqlite:///"
        return Path(self.uri.removeprefix(prefix)) if self.uri.startswith(prefix) else None

    def name(self, root: Path) -> str:
        """What a journal below `root` remembers: a database of the repository by its place in it.

        So a copy of the repository has its own store for what it goes on to send.
        """
        root = root.resolve()
        if self.database is None or not self.database.is_relative_to(root):
            return self.uri
        return f"sqlite:///{self.database.relative_to(root).as_posix()}"


def resolve_store(root: Path, uri: str | None = None) -> Store:
    """The store of a repository: `uri`, else MLFLOW_TRACKING_URI, else `<root>/mlflow.db`."""
    uri = uri or os.environ.get(URI_VARIABLE, "").strip()
    if not uri:
        root = root.resolve()
        return Store(f"sqlite:///{root / 'mlflow.db'}", root / FOLDER)
    store = Store(uri)
    if store.database is None:
        return store
    database = (root / store.database).resolve()
    return Store(f"sqlite:///{database}", database.parent / FOLDER)


def tracking_uri(root: Path) -> str:
    """Where the runs of a repository are recorded."""
    return resolve_store(root).uri


def reachable(uri: str, seconds: float = 3.0) -> bool:
    """Whether a server answers, or a local database can be read or made."""
    database = Store(uri).database
    if database is not None:
        if not database.exists():
            return os.access(database.parent, os.W_OK)
        try:
            return _read(database, "SELECT count(*) FROM sqlite_master") is not None
        except sqlite3.DatabaseError:
            return False
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=seconds).close()
    except urllib.error.HTTPError:
        return True  # it wants a password, say, but is there
    except (OSError, ValueError):
        return False
    return True


def connect(store: Store) -> MlflowClient:
    """A client of a store that is ready for use.

    Imports MLflow (over a second), which no training process should do.
    """
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    if store.database is not None:
        prepare_database(store)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)


def prepare_database(store: Store) -> None:
    """Create the tables of a SQLite store, or bring those of an older MLflow up to date.

    Concurrent first starts crash inside MLflow's migrations, so one process does it under a lock.
    A new database is built in a scratch folder (fifty migrations, each flushed to disk, are slow on
    a real one) and takes its place when it is whole.
    """
    database = store.database
    assert database is not None
    ready = database.exists() and _read(database, "PRAGMA user_version") == _stamp()
    if ready and not foreign_places(store):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.setup.lock", timeout=SETUP_SECONDS):
        if not database.exists():
            scratch_root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
            with tempfile.TemporaryDirectory(dir=scratch_root) as scratch:
                built = Path(scratch) / "mlflow.db"
                _migrate(built, store.artifacts)
                whole = database.with_name(f"{database.name}.new")
                shutil.copyfile(built, whole)
                whole.replace(database)
        elif _read(database, "PRAGMA user_version") != _stamp():
            _migrate(database, store.artifacts)
        _rehome(store)


FOLDER = "mlartifacts"
"""Folder of artifacts beside a database."""
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database has absolute places of artifacts."""


def foreign_places(store: Store) -> list[str]:
    """Folders of artifacts that a database names although they do not lie beside it.

    MLflow stores absolute places. A database that was copied or moved with its repository names the
    old one's, and what is logged would go there.
    """
    query = "SELECT DISTINCT artifact_location FROM experiments WHERE name LIKE 'weir%' OR name = ?"
    with contextlib.closing(sqlite3.connect(f"file:{store.database}?mode=ro", uri=True)) as file:
        try:
            rows = file.execute(query, ("Default",)).fetchall()
        except sqlite3.OperationalError:
            return []
    if store.artifacts is None:
        return []
    own = _homes(store)
    found = {
        place[: place.rindex(f"/{FOLDER}/") + len(FOLDER) + 1]
        for (place,) in rows
        if place and f"/{FOLDER}/" in place and place.startswith(("/", "file:///"))
    }
    return sorted(found - set(own))


def _homes(store: Store) -> tuple[str, str]:
    """A store's own folder of artifacts, as a path and as a URI."""
    assert store.artifacts is not None
    return str(store.artifacts), store.artifacts.as_uri()


def _rehome(store: Store) -> None:
    """Let a database that was copied or moved name the folder of artifacts beside it."""
    for old in foreign_places(store):
        path, uri = _homes(store)
        new = uri if old.startswith("file:") else path
        with contextlib.closing(sqlite3.connect(f"{store.database}", timeout=60)) as file, file:
            for table, column in PLACES:
                file.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
        log.warning(
            "tracking: %s was copied or moved: its artifacts are now those of %s, not of %s",
            store.database,
            path,
            old.removeprefix("file://"),
        )


def _migrate(database: Path, artifacts: Path | None) -> None:
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{database}"
    engine = utils.create_sqlalchemy_engine(uri)
    try:
        if database.exists() and _read(database, "SELECT count(*) FROM alembic_version"):
            utils._upgrade_db(engine)
        else:
            utils._initialize_tables(engine)
    finally:
        engine.dispose()
    SqlAlchemyStore(uri, str(artifacts)).engine.dispose()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA user_version = {_stamp()}")
        connection.commit()


def _stamp() -> int:
    """Number left in a database that was set up by the installed MLflow.

    To ask MLflow itself whether the schema is the newest takes it a fifth of a second.
    """
    return zlib.crc32(version("mlflow").encode()) & 0x7FFFFFFF


def _read(database: Path, query: str) -> int | None:
    """The one number that a query gives; None if the table is not there."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute(query).fetchone()
        except sqlite3.OperationalError:
            return None
    return row[0] if row else None
