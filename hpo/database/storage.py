"""The database, opened for writing as Optuna's storage; `hpo.database.reader` opens it for looking only.

SQLite runs in WAL mode with ``BEGIN IMMEDIATE``, so that a transaction that will write holds the
lock from its start (plain Optuna claims trials twice there), and ``synchronous=NORMAL``: a killed
process loses nothing; a power loss may undo the last commits, never half of one, and cells whose
results are lost that way are trained again. SQLite waits 200 ms for a lock; beyond that the retry
is ours, so that a signal is answered meanwhile.
"""

import sqlite3
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hpo.database import optuna_schema, postgresql, sqlite
from hpo.database.drivers import check_driver
from hpo.database.faults import explain, is_transient
from hpo.database.locations import check_file, checked_url, refuse_network, shown, sqlite_path
from hpo.database.migrations import migrate
from hpo.database.sqlite_file import Identity, SqliteFile, columns_in, refuse_foreign_log
from hpo.database.waiting import Wait
from hpo.errors import StorageError
from hpo.machine.console import say
from hpo.machine.signals import Interrupted as Interrupted

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

CHECKPOINT_EVERY = 2.0  #: seconds between two moves of what was committed into the file itself
LOOK_EVERY = 0.5  #: seconds between two looks whether the file is still there, while training
LAST_WORDS = 0.4  #: seconds in which we give back what we hold when we are told to stop
T = TypeVar("T")


class Storage:
    """A database that studies are written to; one per process and thread."""

    def __init__(
        self,
        url: str,
        stop: Callable[[], bool] = lambda: False,
        *,
        makes: bool = True,
        is_ready: bool = False,
        file: Identity | None = None,
        notify: Callable[[str], None] = say,
    ) -> None:
        """Open or create the database at ``url``.

        Args:
            stop: Ends a wait for the database.
            makes: Make a file that is not there; False for what the caller has seen there.
            is_ready: Another process has just opened it, so that its tables are known to be there.
            file: The file that it must be, that process's `file`.
            notify: Is told whom a long wait is for.

        Raises:
            StorageError: It cannot be opened, is not a database, or was written by a newer hpo.
            Interrupted: ``stop`` said so.
        """
        self.url = checked_url(url)
        check_driver(self.url)
        self.stop = stop
        self.notify = notify
        self._last_word: float | None = None  #: when `finish` gives up, once we are told to stop
        self._opened: list[Engine] = []
        path = sqlite_path(self.url)
        self._file = None if path is None else SqliteFile(path, makes, file)
        self._checkpointed = self._looked = time.monotonic()
        self._is_lost = False
        try:
            self.engine = self._engine() if is_ready else self._opened_engine()
        except BaseException:
            self._release()
            raise

    def _engine(self) -> Engine:
        engine = sa.create_engine(self.url, **self._options())
        self._opened.append(engine)
        self._tune(engine)
        return engine

    def _opened_engine(self) -> Engine:
        """Return an engine of a database that has all tables, Optuna's and ours as they are today."""
        if self._file is not None:
            return self._engine_of_file(self._file.path)
        engine = self._engine()
        postgresql.make_tables(engine, self.url, self.stop, self.notify)
        self._until_free(lambda: self._make_tables(engine))
        return engine

    def _engine_of_file(self, path: Path) -> Engine:
        check_file(path)
        refuse_network(path)

        def attempt() -> Engine:
            refuse_foreign_log(path)
            optuna_schema.refuse_foreign(columns_in(path), shown(self.url))
            engine = self._opened[0] if self._opened else self._engine()
            self._make_tables(engine)
            return engine

        with sqlite.opening(path, Wait(self.url, self.stop, self.notify)):
            return self._until_free(attempt)

    def _make_tables(self, engine: Engine) -> None:
        where = shown(self.url)
        with engine.begin() as connection:
            if self._file is not None and not optuna_schema.are_made(connection, where):
                optuna_schema.make(connection, where)
            migrate(connection, where)
            self.check()
        if self._file is not None:
            self._file.keep_log()

    @property
    def file(self) -> Identity | None:
        """The SQLite file that was opened, for the processes that shall open the same one."""
        return None if self._file is None else self._file.opened

    @cached_property
    def optuna(self) -> "RDBStorage":
        """Optuna's storage in this database, with connections of its own."""
        import optuna

        from hpo.database import optuna_storage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna_storage.opened(self.url, self._options())
        self._opened.append(storage.engine)
        self._tune(storage.engine)
        return storage

    def _options(self) -> dict[str, Any]:
        """Return what engines are made with."""
        if self._file is None:
            return postgresql.options(self.url)
        return {"creator": self._file.connect}

    def _tune(self, engine: Engine) -> None:
        """Make every new connection of ``engine`` behave as the module's text says."""
        if self._file is None:
            postgresql.limit(engine)
        else:
            sqlite.tune(engine)

    def read(self, action: Callable[[Connection], T]) -> T:
        """Run ``action``, which only reads, on one moment of the database; nobody waits for us."""
        options: dict[str, Any] = {sqlite.READING: True}
        if self._file is None:
            options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}

        def attempt() -> T:
            with self.engine.connect().execution_options(**options) as connection:
                return action(connection)

        return self.retried(attempt)

    def write(self, action: Callable[[Connection], T]) -> T:
        """Run ``action`` in one transaction; when the database is busy, wait and try again."""

        def attempt() -> T:
            with self.engine.begin() as connection:
                result = action(connection)
                self.check()  # what is committed to a file that nobody finds again is lost
            self._after_commit()
            return result

        return self._until_free(attempt)

    def retried(self, action: Callable[[], T]) -> T:
        """Run ``action``, which is one transaction, until the database is not busy.

        Raises:
            StorageError: The database is full, damaged, gone, moved, or does not answer.
            Interrupted: ``stop`` said so between two tries.
        """
        result = self._until_free(action)
        self.check()
        return result

    def _until_free(self, action: Callable[[], T]) -> T:
        wait = Wait(self.url, self.stop, self.notify)
        while True:
            try:
                return action()
            except Exception as error:
                wait.after(error)

    def check(self) -> None:
        """Refuse to go on when the database's file was removed, replaced or moved.

        Raises:
            DatabaseMoved: It was.
        """
        if self._file is not None:
            self._file.check()

    def is_held(self) -> bool:
        """Tell whether somebody else is writing just now."""
        try:
            with self.engine.begin():
                return False
        except DBAPIError:
            return True

    def or_lost(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Return ``stop``, which also says so when nothing could be stored any more."""
        return lambda: stop() or self.is_lost()

    def is_lost(self) -> bool:
        """Tell, every now and then, whether `check` would refuse; for who has long nothing to write."""
        if not self._is_lost and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            self._is_lost = self._file is not None and self._file.is_lost()
        return self._is_lost

    def _after_commit(self) -> None:
        """Move what was committed into the file now and then, so that a copy of it has nearly all."""
        if self._file is None:
            return
        self._file.keep_log()
        if time.monotonic() - self._checkpointed > CHECKPOINT_EVERY:
            self._checkpointed = time.monotonic()
            self._checkpoint("PASSIVE")

    def _checkpoint(self, kind: str) -> None:
        """Move the log into the file, as far as no reader needs it; what cannot be done now waits."""
        try:
            connection = self.engine.raw_connection()
        except Exception as error:
            if explain(error, self.url) is None and not isinstance(error, StorageError):
                raise
            return
        try:
            connection.cursor().execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
        except sqlite3.Error:
            pass  # whoever writes next meets it, too
        finally:
            connection.close()

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
                    self.check()
                self._after_commit()
                return True
            except Exception as error:
                if isinstance(error, StorageError) or explain(error, self.url) is None:
                    raise
                if not is_transient(error) or time.monotonic() > deadline:
                    return False
            time.sleep(0.02)

    def close(self) -> None:
        """Give the connections back; what was committed goes into the file, where nobody reads."""
        if self._file is not None and self._opened and not self._file.is_lost():
            self._checkpoint("TRUNCATE")
        self._release()

    def _release(self) -> None:
        if "optuna" in vars(self):
            self.optuna.remove_session()
        for engine in self._opened:
            engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
