"""The database: opened for writing as Optuna's storage, or for reading only.

SQLite runs in WAL mode with ``BEGIN IMMEDIATE``, so that a transaction that will write holds the
lock from its start (plain Optuna claims trials twice there), and ``synchronous=NORMAL``: a killed
process loses nothing; a power loss may undo the last commits, never half of one, and cells whose
results are lost that way are trained again. SQLite waits 200 ms for a lock; beyond that the retry
is ours, so that a signal is answered meanwhile.
"""

import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from hpo import tables
from hpo.errors import HpoError, StorageError

if TYPE_CHECKING:
    import optuna

DEFAULT_URL = "sqlite:///hpo.db"
LOCK_WAIT = 0.2  #: seconds that SQLite itself waits for a lock
RETRY_FOR = 60.0  #: seconds that we go on trying when the database is busy
T = TypeVar("T")


class Interrupted(Exception):
    """The caller was told to stop while it waited for the database."""


class Storage:
    """A database that studies are written to; one per process and thread."""

    def __init__(self, url: str, stop: Callable[[], bool] = lambda: False) -> None:
        """Open or create the database at ``url``.

        Raises:
            StorageError: It cannot be opened, is not a database, or was written by a newer hpo.
        """
        self.url = checked_url(url)
        self.stop = stop
        self.optuna = self._open_optuna()
        self.engine = self.optuna.engine
        self.write(self._create_tables)

    def _open_optuna(self) -> "optuna.storages.RDBStorage":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = sqlite_path(self.url)
        try:
            if path is None:
                storage = optuna.storages.RDBStorage(self.url, {"pool_pre_ping": True})
            else:
                with _first_opening(path):
                    storage = optuna.storages.RDBStorage(
                        self.url, {"connect_args": {"timeout": 10}}
                    )
                    _tune_sqlite(storage.engine)
        except RuntimeError as error:  # Optuna's word for a schema of another version
            raise StorageError(f"{self.url}: {error}") from error
        except ImportError as error:
            raise StorageError(
                f"{self.url} needs a database driver that is not installed ({error})."
            ) from error
        except Exception as error:
            explained = explain(error, self.url)
            if explained is None:
                raise
            raise explained from error
        return storage

    def _create_tables(self, connection: Connection) -> None:
        tables.metadata.create_all(connection)
        query = sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema_version")
        version = connection.execute(query).scalar_one_or_none()
        if version is None:
            row = {"key": "schema_version", "value": str(tables.SCHEMA_VERSION)}
            connection.execute(tables.meta.insert().values(row))
        check_schema(self.url, version)

    def write(self, action: Callable[[Connection], T]) -> T:
        """Run ``action`` in one transaction; when the database is busy, wait and try again."""

        def attempt() -> T:
            with self.engine.begin() as connection:
                return action(connection)

        return self.retried(attempt)

    def retried(self, action: Callable[[], T]) -> T:
        """Run ``action``, which is one transaction, until the database is not busy.

        Raises:
            StorageError: The database is full, damaged, gone, or busy for longer than `RETRY_FOR`.
            Interrupted: ``stop`` said so between two tries.
        """
        deadline = time.monotonic() + RETRY_FOR
        pause = 0.01
        while True:
            try:
                return action()
            except HpoError:
                raise
            except Exception as error:
                explained = explain(error, self.url)
                if explained is None:
                    raise
                if not is_transient(error) or time.monotonic() > deadline:
                    raise explained from error
            if self.stop():
                raise Interrupted
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def close(self) -> None:
        """Give the connections back."""
        self.optuna.remove_session()
        self.engine.dispose()


class Reader:
    """A database that is only looked at: statements that write fail, and no writer waits for us."""

    def __init__(self, url: str) -> None:
        """Open an existing database.

        Raises:
            StorageError: There is none at ``url``, or it is not one of ours.
        """
        self.url = checked_url(url)
        path = sqlite_path(self.url)
        if path is not None and not path.is_file():
            raise StorageError(
                f"No database at {path}. `hpo run coarse` makes one, or name another with --storage."
            )
        self._path = path
        self.read(lambda connection: check_schema(self.url, _stored_version(connection)))

    @cached_property
    def engine(self) -> Engine:
        """The engine; SQLite is opened with ``mode=ro``, PostgreSQL in read-only transactions."""
        if self._path is None:
            options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
            return sa.create_engine(self.url, pool_pre_ping=True, execution_options=options)
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        return sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(address, uri=True, timeout=10, check_same_thread=False),
        )

    def read(self, action: Callable[[Connection], T]) -> T:
        """Run ``action`` on a connection that cannot write."""
        try:
            with self.engine.connect() as connection:
                return action(connection)
        except DBAPIError as error:
            raise explain(error, self.url) or error from error


def checked_url(url: str) -> str:
    """Return ``url`` if it names a database that we support.

    Raises:
        StorageError: It does not.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise StorageError(
            f"{url!r} is not a database URL. Expected for example {DEFAULT_URL} or "
            "postgresql+psycopg://user@host/name."
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageError(
            f"{url!r} is a {parsed.get_backend_name()} database; hpo works with SQLite and PostgreSQL."
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError(f"{url!r} would be gone with the process. Name a file: {DEFAULT_URL}.")
    return url


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite database, or None for a server."""
    parsed = sa.make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def check_schema(url: str, version: str | None) -> None:
    """Refuse a database whose tables a newer hpo has written."""
    if version is not None and int(version) > tables.SCHEMA_VERSION:
        raise StorageError(
            f"{url} was written by a newer hpo (schema {version}; this one knows "
            f"{tables.SCHEMA_VERSION}). Upgrade hpo, or use another --storage."
        )


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help: somebody else holds the database."""
    text = _text(error)
    return "database is locked" in text or "database table is locked" in text


def explain(error: BaseException, url: str) -> StorageError | None:
    """Return the sentence for a database error, or None when it is not one."""
    wrapped = type(error).__name__ == "StorageInternalError"  # Optuna's; not imported by readers
    if not wrapped and not isinstance(error, DBAPIError | OSError):
        return None
    text = _text(error)
    where = sqlite_path(url) or url
    for sign, sentence in (
        ("file is not a database", f"{where} is not an SQLite database, or is damaged."),
        ("unable to open database", _unopenable(url)),
        ("readonly database", f"{where} cannot be written: the file or its folder is read-only."),
        ("disk is full", f"No space left for {where}. Free some and run the same command again."),
        ("disk I/O error", f"The disk under {where} fails to read or write. Check it."),
        ("malformed", f"{where} is damaged. Restore a copy, or start with another --storage."),
        ("is locked", f"{where} has been held by another process for {RETRY_FOR:.0f} s."),
        ("no such table", f"{where} is a database, but hpo has not written to it yet."),
        ("does not exist", f"{where} is a database, but hpo has not written to it yet."),
    ):
        if sign in text:
            return StorageError(sentence)
    return StorageError(f"The database {where} reports: {text.splitlines()[0]}")


def _text(error: BaseException) -> str:
    """Return the driver's own words, which Optuna and SQLAlchemy wrap."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def _unopenable(url: str) -> str:
    path = sqlite_path(url)
    if path is None:
        return f"{url} cannot be opened."
    if path.is_dir():
        return f"{path} is a folder; the database must be a file in it, for example {path}/hpo.db."
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} for the database {path.name}. Make it first."
    return f"{path} cannot be opened for writing."


def _stored_version(connection: Connection) -> str | None:
    query = sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema_version")
    return connection.execute(query).scalar_one_or_none()


def _first_opening(path: Path) -> Any:
    """Return a lock: of several processes that create Optuna's tables at once, some would fail."""
    from filelock import FileLock

    if path.is_dir() or not path.parent.is_dir():
        raise OSError("unable to open database file")
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"hpo-{os.getuid()}-{name}.lock")


def _tune_sqlite(engine: Engine) -> None:
    """Make every new connection of ``engine`` behave as the module's text says."""

    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say
        connection.execute(f"PRAGMA busy_timeout={int(1000 * LOCK_WAIT)}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    engine.dispose()
    try:
        engine.connect().close()
    except OperationalError as error:  # WAL needs a moment alone with the file
        if not is_transient(error):
            raise
