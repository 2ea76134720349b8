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
from sqlalchemy.exc import DBAPIError, OperationalError

from hpo import tables
from hpo.errors import HpoError, StorageError
from hpo.faults import explain, is_transient
from hpo.locations import checked_url, refuse_network, shown, sqlite_path
from hpo.migrations import migrate, refuse_newer, stored_version

if TYPE_CHECKING:
    import optuna

LOCK_WAIT = 0.2  #: seconds that SQLite itself waits for a lock
RETRY_FOR = 60.0  #: seconds that we go on trying when the database is busy or away
OPEN_FOR = 15.0  #: seconds that we wait for a server that does not answer at the start
FIRST_OPENING = 0x68706F  #: key of PostgreSQL's advisory lock for making tables
LAST_WORDS = 0.4  #: seconds in which we give back what we hold when we are told to stop
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
        self._last_word: float | None = None  #: when `finish` gives up, once we are told to stop
        self.optuna = self._open_optuna()
        self.engine = self.optuna.engine
        self.write(lambda connection: migrate(connection, shown(self.url)))

    def _open_optuna(self) -> "optuna.storages.RDBStorage":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = sqlite_path(self.url)
        try:
            if path is None:
                storage = _open_server(self.url)
            else:
                refuse_network(path)
                with _first_opening(path):
                    storage = optuna.storages.RDBStorage(
                        self.url, {"connect_args": {"timeout": 10}}
                    )
                    _tune_sqlite(storage.engine)
        except RuntimeError as error:  # Optuna's word for a schema of another version
            raise StorageError(f"{shown(self.url)}: {error}") from error
        except ImportError as error:
            raise StorageError(
                f"{shown(self.url)} needs a database driver that is not installed. For PostgreSQL: "
                "pip install 'hpo[postgres]', and a URL that begins with postgresql+psycopg://."
            ) from error
        except Exception as error:
            explained = explain(error, self.url)
            if explained is None:
                raise
            raise explained from error
        return storage

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
            pause = min(2 * pause, LOCK_WAIT)

    def finish(self, action: Callable[[Connection], object], patience: float = 1.0) -> bool:
        """Run ``action`` also while we are told to stop, for ``patience`` seconds; tell if it ran.

        For what others would do in our place if we cannot: give back what a dead process holds.
        Once we are told to stop, all that is finished so shares `LAST_WORDS` seconds.
        """
        deadline = time.monotonic() + patience
        while True:
            if self.stop():
                self._last_word = self._last_word or time.monotonic() + LAST_WORDS
                deadline = min(deadline, self._last_word)
            try:
                with self.engine.begin() as connection:
                    action(connection)
                return True
            except Exception as error:
                if explain(error, self.url) is None:
                    raise
                if not is_transient(error) or time.monotonic() > deadline:
                    return False
            time.sleep(0.02)

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
        if path is not None and path.is_dir():
            raise StorageError(f"{path} is a folder; name the database file in it, {path}/hpo.db.")
        if path is not None and not path.is_file():
            raise StorageError(
                f"No database at {path}. `hpo run coarse` makes one, or name another with --storage."
            )
        self._path = path
        try:
            self.read(self._check_schema)
        except BaseException:
            self.close()
            raise

    @cached_property
    def engine(self) -> Engine:
        """The engine; SQLite is opened with ``mode=ro``, PostgreSQL in read-only transactions."""
        if self._path is None:
            options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
            return sa.create_engine(self.url, pool_pre_ping=True, execution_options=options)
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        if not os.access(self._path.parent, os.W_OK) and not _has_log(self._path):
            address += (
                "&immutable=1"  # a reader of a WAL database leaves files, which it cannot here
            )
        return sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(address, uri=True, timeout=10, check_same_thread=False),
        )

    def _check_schema(self, connection: Connection) -> None:
        version = stored_version(connection)
        if version is None:
            raise StorageError(
                f"{shown(self.url)} is a database, but hpo has not written to it yet; "
                "`hpo run coarse` does."
            )
        refuse_newer(version, shown(self.url))
        if version < tables.SCHEMA_VERSION:
            raise StorageError(
                f"{shown(self.url)} was written by an older hpo (schema {version}). Any `hpo run` or "
                "`hpo doctor --repair` brings it up to date, and loses nothing."
            )

    def read(self, action: Callable[[Connection], T]) -> T:
        """Run ``action`` on a connection that cannot write."""
        try:
            with self.engine.connect() as connection:
                return action(connection)
        except DBAPIError as error:
            raise explain(error, self.url) or error from error

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def read_once(url: str, action: Callable[[Connection], T]) -> T:
    """Open an existing database, run ``action`` on a connection that cannot write, and close it."""
    reader = Reader(url)
    try:
        return reader.read(action)
    finally:
        reader.close()


def _open_server(url: str) -> "optuna.storages.RDBStorage":
    """Open PostgreSQL; tables are made under an advisory lock, which ends with the connection."""
    import optuna

    # A lock is waited for in short turns, as on SQLite, so that a signal is answered meanwhile; and
    # a process that was stopped in the middle of a transaction does not hold up the others for ever.
    given = sa.make_url(url).query.get("options", "")
    limits = f"-c lock_timeout={int(1000 * LOCK_WAIT)} -c idle_in_transaction_session_timeout=30000"
    arguments = {"connect_timeout": 10, "options": f"{limits} {given}".strip()}
    options = {"pool_pre_ping": True, "connect_args": arguments}
    engine = sa.create_engine(url, connect_args={"connect_timeout": 10})
    deadline = time.monotonic() + OPEN_FOR
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(f"select pg_advisory_lock({FIRST_OPENING})"))
                return optuna.storages.RDBStorage(url, options)
        except Exception as error:  # a server that is starting is worth waiting for
            transient = explain(error, url) is not None and is_transient(error)
            if not transient or time.monotonic() > deadline:
                raise
        finally:
            engine.dispose()
        time.sleep(0.2)


def _has_log(path: Path) -> bool:
    """Tell whether commits wait in a write-ahead log beside the database."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


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
