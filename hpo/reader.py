"""The database, opened for looking only: what writes fails, and no writer waits for us."""

import os
import sqlite3
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hpo import tables
from hpo.errors import StorageError
from hpo.faults import explain
from hpo.locations import checked_url, shown, sqlite_path
from hpo.migrations import refuse_newer, stored_version

T = TypeVar("T")


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


def _has_log(path: Path) -> bool:
    """Tell whether commits wait in a write-ahead log beside the database."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0
