"""What a disk, a server and a process may do at the n-th write."""

import os
import sqlite3
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

SURVIVED, REFUSED, UNDISTURBED, KILLED = 0, 3, 4, 9  # how a disturbed run may end


class Fault:
    """What happens at the n-th write of a process: a writing statement, a commit, or both."""

    def __init__(self, n: int, *, statements: bool = True) -> None:
        self.n_left = n
        self.has_happened = False
        event.listen(Engine, "commit", self._at_commit)
        if statements:
            event.listen(Engine, "before_cursor_execute", self._at_statement)

    def _at_commit(self, connection: Connection) -> None:
        self._count(connection, "COMMIT")

    def _at_statement(self, connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            self._count(connection, statement)

    def _count(self, connection: Connection, statement: str) -> None:
        self.n_left -= 1
        if self.n_left == 0:
            self.has_happened = True
            self.happen(connection, statement)

    def happen(self, connection: Connection, statement: str) -> None:
        raise NotImplementedError


class DiskFull(Fault):
    def happen(self, connection: Connection, statement: str) -> None:
        raise OperationalError(statement, {}, sqlite3.OperationalError("database or disk is full"))


class DiskBroken(Fault):
    def happen(self, connection: Connection, statement: str) -> None:
        raise OperationalError(statement, {}, sqlite3.OperationalError("disk I/O error"))


class BrokenAfterCommit(Fault):
    """The commit is on the disk, but what came back is an error."""

    def __init__(self, n: int) -> None:
        super().__init__(n, statements=False)

    def happen(self, connection: Connection, statement: str) -> None:
        dbapi(connection).commit()
        raise OperationalError(statement, {}, sqlite3.OperationalError("disk I/O error"))


class ConnectionLost(Fault):
    """The server ends the connection; the statement that follows meets that."""

    def happen(self, connection: Connection, statement: str) -> None:
        address = connection.engine.url.set(drivername="postgresql")
        with psycopg.connect(address.render_as_string(hide_password=False)) as other:
            other.execute("select pg_terminate_backend(%s, 5000)", [backend(connection)])


class AnswerLost(Fault):
    """The commit reached the server; its answer did not reach us."""

    def __init__(self, n: int) -> None:
        super().__init__(n, statements=False)

    def happen(self, connection: Connection, statement: str) -> None:
        dbapi(connection).commit()
        connection.invalidate()
        lost = psycopg.OperationalError("server closed the connection unexpectedly")
        raise OperationalError(statement, {}, lost, connection_invalidated=True)


class Death(Fault):
    """The process is gone right after a commit."""

    def __init__(self, n: int) -> None:
        super().__init__(n, statements=False)

    def happen(self, connection: Connection, statement: str) -> None:
        dbapi(connection).commit()
        os._exit(KILLED)


def dbapi(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def backend(connection: Connection) -> int:
    pid: int = dbapi(connection).info.backend_pid
    return pid
