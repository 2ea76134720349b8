"""Rows as they are stored, whatever they hold: for who examines a database, and mends it."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import checkpoints, rows, tables
from hpo.experiment.records import Attempt, Slot, State, StoredStudy


def rows_of(connection: Connection, table: sa.Table, study: str) -> Iterator[Row[Any]]:
    """Return the rows of a study in the order of their key."""
    query = table.select().where(table.c.study == study).order_by(*table.primary_key)
    yield from connection.execute(query).yield_per(1000)


def delete(connection: Connection, table: sa.Table, row: Row[Any]) -> None:
    """Delete a row, by its key."""
    connection.execute(table.delete().where(_this(table, row)))


def end(connection: Connection, row: Row[Any], reason: str) -> None:
    """Let the attempt of a row have failed, whatever it says."""
    values = {"state": State.FAILED, "reason": reason, "token": None, "in_optuna": False}
    connection.execute(tables.attempts.update().where(_this(tables.attempts, row)).values(**values))


def add_attempt(connection: Connection, study: str, slot: Slot, number: int) -> None:
    """Let a slot wait for a worker."""
    new = {"study": study, "cell": slot.cell, "replicate": slot.replicate, "attempt": number}
    values = new | {"state": State.WAITING, "in_optuna": False}
    connection.execute(tables.attempts.insert().values(**values))


def fail(connection: Connection, study: str, attempt: Attempt, reason: str) -> None:
    """Let an attempt have failed now."""
    rows.update_attempt(
        connection,
        study,
        attempt,
        state=State.FAILED,
        reason=reason,
        ended_at=rows.now(connection),
        token=None,
        in_optuna=False,
    )


def forget_result(connection: Connection, study: str, slot: Slot) -> None:
    """Delete the result, the curve and the checkpoints of a slot."""
    for table in (tables.results, tables.curves):
        connection.execute(table.delete().where(rows.at(table, study, slot)))
    checkpoints.forget(connection, study, [slot])


def read_checkpoints(
    connection: Connection, study: StoredStudy
) -> Iterator[tuple[Row[Any], checkpoints.Damaged | None]]:
    """Return the checkpoints of a study, one after the other, each with its damage if it has some."""
    table = tables.checkpoints
    for row in connection.execute(table.select().where(table.c.study == study.uuid)):
        slot = Slot(row.cell, row.replicate)
        expected = checkpoints.label(study.uuid, study.experiment, slot, row.n_updates)
        try:
            checkpoints.unpack(row.content, row.sha256, expected)
        except checkpoints.Damaged as error:
            yield row, error
        else:
            yield row, None


def answers_of_file(connection: Connection) -> list[str]:
    """Return what SQLite finds wrong with its file, ``ok`` if nothing; PostgreSQL's version elsewhere."""
    is_sqlite = connection.dialect.name == "sqlite"
    query = "PRAGMA integrity_check" if is_sqlite else "show server_version"
    return list(connection.execute(sa.text(query)).scalars())


def n_orphans(connection: Connection) -> int:
    """Return how many rows belong to no study."""
    return sum(
        connection.execute(sa.select(sa.func.count()).select_from(table).where(gone)).scalar_one()
        for table, gone in _without_study()
    )


def delete_orphans(connection: Connection) -> None:
    """Delete the rows that belong to no study."""
    for table, gone in _without_study():
        connection.execute(table.delete().where(gone))


def _without_study() -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    known = sa.select(tables.studies.c.uuid)
    return [(table, table.c.study.not_in(known)) for table in tables.OF_SEARCH]


def _this(table: sa.Table, row: Row[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == getattr(row, column.name) for column in table.primary_key))
