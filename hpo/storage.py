"""The database, opened for writing as Optuna's storage; `hpo.reader` opens it for looking only.

SQLite runs in WAL mode with ``BEGIN IMMEDIATE``, so that a transaction that will write holds the
lock from its start (plain Optuna claims trials twice there), and ``synchronous=NORMAL``: a killed
process loses nothing; a power loss may undo the last commits, never half of one, and cells whose
results are lost that way are trained again. SQLite waits 200 ms for a lock; beyond that the retry
is ours, so that a signal is answered meanwhile.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from hpo.errors import HpoError, StorageError
from hpo.faults import explain, is_transient
from hpo.locations import checked_url, refuse_network, shown, sqlite_path
from hpo.migrations import migrate

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

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

    def __init__(
        self, url: str, stop: Callable[[], bool] = lambda: False, *, is_ready: bool = False
    ) -> None:
        """Open or create the database at ``url``.

        Args:
            stop: Ends a wait for the database.
            is_ready: Another process has just opened it, so that its tables are known to be there.

        Raises:
            StorageError: It cannot be opened, is not a database, or was written by a newer hpo.
        """
        self.url = checked_url(url)
        self.stop = stop
        self._last_word: float | None = None  #: when `finish` gives up, once we are told to stop
        self._opened: list[Engine] = []
        if is_ready:
            self.engine = sa.create_engine(self.url, **_options(self.url))
            self._opened.append(self.engine)
            if sqlite_path(self.url) is not None:
                _tune_sqlite(self.engine)
            return
        self.engine = self.optuna.engine
        self.write(lambda connection: migrate(connection, shown(self.url)))

    @cached_property
    def optuna(self) -> "RDBStorage":
        """Optuna's storage in this database; opening it creates what is missing."""
        opened = self._open_optuna()
        self._opened.append(opened.engine)
        return opened

    def _open_optuna(self) -> "RDBStorage":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = sqlite_path(self.url)
        try:
            if path is None:
                storage = _open_server(self.url)
            else:
                refuse_network(path)
                with _first_opening(path):
                    storage = optuna.storages.RDBStorage(self.url, _options(self.url))
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
        if "optuna" in vars(self):
            self.optuna.remove_session()
        for engine in self._opened:
            engine.dispose()


def _options(url: str) -> dict[str, Any]:
    """Return what engines for ``url`` are made with."""
    if sqlite_path(url) is not None:
        return {"connect_args": {"timeout": 10}}
    # A lock is waited for in short turns, as on SQLite, so that a signal is answered meanwhile; and
    # a process that was stopped in the middle of a transaction does not hold up the others for ever.
    given = sa.make_url(url).query.get("options", "")
    limits = f"-c lock_timeout={int(1000 * LOCK_WAIT)} -c idle_in_transaction_session_timeout=30000"
    arguments = {"connect_timeout": 10, "options": f"{limits} {given}".strip()}
    return {"pool_pre_ping": True, "connect_args": arguments}


def _open_server(url: str) -> "RDBStorage":
    """Open PostgreSQL; tables are made under an advisory lock, which ends with the connection."""
    import optuna

    engine = sa.create_engine(url, connect_args={"connect_timeout": 10})
    deadline = time.monotonic() + OPEN_FOR
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(f"select pg_advisory_lock({FIRST_OPENING})"))
                return optuna.storages.RDBStorage(url, _options(url))
        except Exception as error:  # a server that is starting is worth waiting for
            transient = explain(error, url) is not None and is_transient(error)
            if not transient or time.monotonic() > deadline:
                raise
        finally:
            engine.dispose()
        time.sleep(0.2)


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
