"""SQLite: how connections to it behave, and how tables are made there by one process at a time."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from hpo.database.faults import is_transient
from hpo.database.sqlite_file import next_mark
from hpo.database.waiting import Wait

READING = "hpo_reading"  #: execution option of a transaction that takes no lock


@contextmanager
def opening(path: Path, wait: Wait) -> Iterator[None]:
    """Hold a lock on the folder: of several processes that make Optuna's tables at once, some fail."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError:  # one may write there, but not look
        yield
        return
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait.held(lambda: "another process that opens it")
            except OSError:  # a file system without such locks
                break
        yield
    finally:
        os.close(folder)


def tune(engine: Engine) -> None:
    """Let transactions of ``engine`` begin where we say, with a log, and leave their mark."""

    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except UnicodeDecodeError as error:  # what SQLite would have said quotes damaged text
            connection.close()
            raise sqlite3.DatabaseError("the schema is malformed") from error
        except BaseException:  # SQLAlchemy forgets a connection that fails here, with its locks
            connection.close()
            raise

    def begun(connection: Connection) -> None:
        is_reading = connection.get_execution_options().get(READING)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")
        connection.info["changes"] = _dbapi(connection).total_changes

    def committing(connection: Connection) -> None:
        own = _dbapi(connection)
        if own.total_changes != connection.info["changes"]:
            (mark,) = own.execute("PRAGMA user_version").fetchone()
            own.execute(f"PRAGMA user_version={next_mark(mark)}")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    event.listen(engine, "commit", committing)
    engine.dispose()
    try:
        engine.connect().close()
    except OperationalError as error:  # WAL needs a moment alone with the file
        if not is_transient(error):
            raise


def _dbapi(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
