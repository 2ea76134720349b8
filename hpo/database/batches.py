"""Statements on many attempts or slots of a study at once: one each, whatever their number.

Callers split what is more than `AT_ONCE`: a slot takes up to three parameters of a statement and
an attempt four, of which an SQLite built before 2020 allows 999.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database.rows import attempt_of
from hpo.database.tables import attempts
from hpo.experiment.records import Attempt, Slot, State

AT_ONCE = 200  #: attempts in one statement at most
T = TypeVar("T")


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
    key = sa.tuple_(attempts.c.cell, attempts.c.replicate, attempts.c.attempt)
    wanted = [(a.slot.cell, a.slot.replicate, a.number) for a in some]
    return sa.and_(_of_cells(attempts, study, [a.slot for a in some]), key.in_(wanted))


def _of_cells(table: sa.Table, study: str, slots: Collection[Slot]) -> sa.ColumnElement[bool]:
    """Return a condition that SQLite finds by its index, which it does not with a pair of columns."""
    return sa.and_(table.c.study == study, table.c.cell.in_({slot.cell for slot in slots}))
