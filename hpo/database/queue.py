"""The queue of studies: whom workers serve first, what was called off, with which versions it began.

A study without a row here has priority 0, is not called off, and was not trained yet.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import batches, rows, tally
from hpo.database.tables import queue, workers


@dataclass(frozen=True)
class Place:
    """What the queue says of a study."""

    priority: int = 0
    is_cancelled: bool = False
    versions: str | None = None  #: JSON, see `hpo.machine.environment.versions`


NOWHERE = Place()


def places(connection: Connection) -> dict[str, Place]:
    """Return the places of all studies that have one, by uuid."""
    return {row.study: _place(row) for row in connection.execute(queue.select())}


def place(connection: Connection, study: str) -> Place:
    """Return the place of a study."""
    row = connection.execute(queue.select().where(queue.c.study == study)).one_or_none()
    return NOWHERE if row is None else _place(row)


def _place(row: sa.Row[tuple[object, ...]]) -> Place:
    priority = row.priority if isinstance(row.priority, int) else 0
    return Place(priority, row.cancelled_at is not None, row.versions)


def prefer(connection: Connection, study: str, priority: int) -> None:
    """Give a study a priority."""
    _set(connection, study, priority=priority)


def cancel(connection: Connection, study: str) -> None:
    """Call a study off: nobody claims anything of it, and who trains it gives it back."""
    _set(connection, study, cancelled_at=rows.now(connection))


def renew(connection: Connection, study: str) -> None:
    """Take that back."""
    _set(connection, study, cancelled_at=None)


def begin(connection: Connection, study: str, versions: str) -> None:
    """Note with which versions a study is trained from now on."""
    if place(connection, study).versions != versions:
        _set(connection, study, versions=versions)


def forget(connection: Connection, study: str) -> None:
    """Take a study out of the queue."""
    connection.execute(queue.delete().where(queue.c.study == study))


def _set(connection: Connection, study: str, **values: object) -> None:
    batches.insert_missing(connection, queue, [{"study": study, "priority": 0}])
    connection.execute(queue.update().where(queue.c.study == study).values(**values))


def workers_by_study(connection: Connection) -> dict[str, int]:
    """Return how many workers, that have not left, work for each study."""
    query = sa.select(workers.c.study, sa.func.count()).where(
        workers.c.ended_at.is_(None), workers.c.study.is_not(None)
    )
    return {row[0]: row[1] for row in connection.execute(query.group_by(workers.c.study))}


def equipment(connection: Connection) -> list[tuple[str, str | None]]:
    """Return the images, and the versions as JSON, of living workers that take any study about them."""
    query = sa.select(workers.c.data, workers.c.versions)
    query = query.where(workers.c.data.is_not(None), *tally.is_heard(connection)).distinct()
    return [(row.data, row.versions) for row in connection.execute(query)]
