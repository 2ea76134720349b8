"""Statements on many attempts or slots of a study at once: one each, whatever their number.

Callers split what is more than `AT_ONCE`: a slot takes up to three parameters of a statement and
an attempt four, of which an SQLite built before 2020 allows 999.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import digests
from hpo.database.rows import attempt_of
from hpo.database.tables import IS_RUNNING, IS_WAITING, attempts
from hpo.experiment.records import Attempt, Slot, State

AT_ONCE = 200  #: attempts in one statement at most
T = TypeVar("T")
_KEY = (attempts.c.cell, attempts.c.replicate, attempts.c.attempt)


def split(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return the items in batches of `AT_ONCE` at most."""
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def at(table: sa.Table, study: str, slots: Collection[Slot]) -> sa.ColumnElement[bool]:
    """Return the condition for the rows of some slots."""
    key = sa.tuple_(table.c.cell, table.c.replicate)
    wanted = [(slot.cell, slot.replicate) for slot in slots]
    return sa.and_(_of_cells(table, study, slots), key.in_(wanted))


def standing(connection: Connection, study: str, some: Collection[Attempt]) -> list[Attempt]:
    """Return attempts as they are now, locked until the transaction ends; some may be gone."""
    if not some:
        return []
    order = (attempts.c.replicate, attempts.c.cell, attempts.c.attempt)  # all lock in the same one
    query = attempts.select().where(_these(study, some)).order_by(*order).with_for_update()
    return [attempt_of(row) for row in connection.execute(query)]


def update(connection: Connection, study: str, some: Collection[Attempt], **values: Any) -> None:
    """Change attempts, all in the same way."""
    if some:
        connection.execute(attempts.update().where(_these(study, some)).values(**values))


def take(
    connection: Connection, study: str, some: Collection[Attempt], **values: Any
) -> list[Attempt]:
    """Change those attempts that still wait and that nobody else is taking; return them as they are now."""
    free = sa.select(*_KEY).where(_these(study, some), IS_WAITING).correlate(None)
    mine = sa.tuple_(*_KEY).in_(free.with_for_update(skip_locked=True))
    return _changed(connection, sa.and_(attempts.c.study == study, mine), values) if some else []


def move(
    connection: Connection, study: str, some: Collection[Attempt], token: str, /, **values: Any
) -> list[Attempt]:
    """Change those attempts that run under a token; return them as they are now."""
    held = sa.and_(_these(study, some), IS_RUNNING, attempts.c.token == token)
    return _changed(connection, held, values) if some else []


def _changed(
    connection: Connection, condition: sa.ColumnElement[bool], values: dict[str, Any]
) -> list[Attempt]:
    change = attempts.update().where(condition).values(**values).returning(*attempts.c)
    found = [attempt_of(row) for row in connection.execute(change)]
    return sorted(found, key=lambda a: (a.slot.replicate, a.slot.cell, a.number))


def insert(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    if rows:
        _each(connection, table, table.insert(), rows)


def insert_missing(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert those rows whose key is not there yet."""
    if rows:
        _each(connection, table, _own_insert(connection)(table).on_conflict_do_nothing(), rows)


def upsert(
    connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]], key: Sequence[str]
) -> None:
    """Insert rows, or let them take the place of those with the same key."""
    if rows:
        new = _own_insert(connection)(table)
        others = {name: new.excluded[name] for name in rows[0] if name not in key}
        if digests.NAME in table.c:
            others[digests.NAME] = new.excluded[digests.NAME]
        replaced = new.on_conflict_do_update(index_elements=list(key), set_=others)
        _each(connection, table, replaced, rows)


def _each(
    connection: Connection, table: sa.Table, new: Any, rows: Sequence[dict[str, Any]]
) -> None:
    """Insert many rows by one statement: for PostgreSQL's driver each row is one, unless some answer."""
    if connection.dialect.name == "postgresql":
        new = new.returning(next(iter(table.primary_key)))
    connection.execute(new, list(rows))


def _own_insert(connection: Connection) -> Any:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert


def link(
    connection: Connection, study: str, trials: Sequence[tuple[Attempt, int]], *, are_new: bool
) -> None:
    """Note which of Optuna's trials shows each attempt.

    Args:
        are_new: The trials are WAITING, so that those of waiting attempts show them as they are.
    """
    if not trials:
        return
    this = sa.and_(
        attempts.c.study == study,
        attempts.c.cell == sa.bindparam("c"),
        attempts.c.replicate == sa.bindparam("r"),
        attempts.c.attempt == sa.bindparam("n"),
    )
    values: dict[str, Any] = {"trial_id": sa.bindparam("t")}
    if are_new:
        is_waiting = attempts.c.state == State.WAITING
        values["in_optuna"] = sa.case((is_waiting, sa.true()), else_=sa.false())
    links = [
        {"c": a.slot.cell, "r": a.slot.replicate, "n": a.number, "t": trial_id}
        for a, trial_id in trials
    ]
    connection.execute(attempts.update().where(this).values(values), links)


def _these(study: str, some: Collection[Attempt]) -> sa.ColumnElement[bool]:
    key = sa.tuple_(*_KEY)
    wanted = [(a.slot.cell, a.slot.replicate, a.number) for a in some]
    return sa.and_(_of_cells(attempts, study, [a.slot for a in some]), key.in_(wanted))


def _of_cells(table: sa.Table, study: str, slots: Collection[Slot]) -> sa.ColumnElement[bool]:
    """Return a condition that SQLite finds by its index, which it does not with a pair of columns."""
    return sa.and_(table.c.study == study, table.c.cell.in_({slot.cell for slot in slots}))
