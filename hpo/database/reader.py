"""The database, opened for looking only: what writes fails, and no writer waits for us."""

import os
import sqlite3
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from hpo.database import postgresql, tables
from hpo.database.drivers import check_driver
from hpo.database.locations import check_file, checked_url, shown, sqlite_path
from hpo.database.migrations import refuse_newer, stored_version
from hpo.database.sqlite_file import (
    LOCK_WAIT,
    LetsGo,
    has_index,
    has_log,
    log_of,
    refuse_foreign_log,
)
from hpo.database.waiting import Wait
from hpo.errors import NotWrittenYet, StorageError
from hpo.machine.console import say

T = TypeVar("T")


class Reader:
    """A database that is only looked at: statements that write fail, and no writer waits for us.

    Each `read` sees one moment of it, whatever others commit meanwhile.
    """

    def __init__(
        self,
        url: str,
        stop: Callable[[], bool] = lambda: False,
        notify: Callable[[str], None] = say,
    ) -> None:
        """Open an existing database.

        Args:
            stop: Ends a wait for the database.
            notify: Is told whom a long wait is for.

        Raises:
            StorageError: There is none at ``url``, or it is not one of ours.
        """
        self.url = checked_url(url)
        check_driver(self.url)
        self._stop, self._notify = stop, notify
        self._path = sqlite_path(self.url)
        if self._path is not None:
            if not self._path.exists():
                raise StorageError(
                    f"No database at {self._path}. `hpo run coarse` makes one, or name another with "
                    "--storage."
                )
            check_file(self._path)
            refuse_foreign_log(self._path)
        try:
            self.read(self._check_schema)
        except BaseException:
            self.close()
            raise

    @cached_property
    def engine(self) -> Engine:
        """The engine; SQLite is opened with ``mode=ro``, PostgreSQL in read-only transactions."""
        engine = sa.create_engine(self.address, **self.options())
        self.begin_with_reading(engine)
        return engine

    @property
    def address(self) -> str:
        """What an engine is made for; where an SQLite file is, its `options` say."""
        return self.url if self._path is None else "sqlite://"

    def options(self) -> dict[str, Any]:
        """Return what engines that cannot write are made with."""
        if self._path is None:
            options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
            return {"execution_options": options, **postgresql.options(self.url)}
        address = _read_only(self._path)

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                address,
                uri=True,
                timeout=LOCK_WAIT,
                isolation_level=None,  # transactions begin where we say, so before the first look
                check_same_thread=False,
                factory=LetsGo,
            )

        # Of an address without a file SQLAlchemy takes the pool that closes other threads' connections.
        return {"creator": connect, "poolclass": QueuePool}

    def begin_with_reading(self, engine: Engine) -> None:
        """Let the transactions of an engine see one moment, and not stand still for ever."""
        if self._path is None:
            postgresql.limit(engine)
        else:
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    def _check_schema(self, connection: Connection) -> None:
        version = stored_version(connection)
        if version is None:
            raise NotWrittenYet(
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
        """Run ``action`` on a connection that cannot write; all that it sees is of one moment."""
        wait = Wait(self.url, self._stop, self._notify, away_for=0.0)  # who looks is told at once
        while True:
            try:
                with self.engine.connect() as connection:
                    return action(connection)
            except DBAPIError as error:
                wait.after(error)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def read_once(
    url: str,
    action: Callable[[Connection], T],
    stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = say,
) -> T:
    """Open an existing database, run ``action`` on a connection that cannot write, and close it."""
    reader = Reader(url, stop, notify)
    try:
        return reader.read(action)
    finally:
        reader.close()


def _read_only(path: Path) -> str:
    """Return the address of a file for reading, also where its folder does not let us write.

    Whoever reads a database with a log makes an index of the log beside it, if there is none.
    """
    address = f"{path.resolve().as_uri()}?mode=ro"
    if os.access(path.resolve().parent, os.W_OK):
        return address
    if not has_log(path):
        return f"{address}&immutable=1"
    if not has_index(path):
        log = log_of(path)
        raise StorageError(
            f"The last commits to {path} are in {log.name}, which cannot be read without writing to "
            f"{log.parent}. Copy both files to a folder of your own and look there, or let somebody "
            "who may write there run `hpo status` once."
        )
    return address
