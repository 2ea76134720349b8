"""What a worker says of itself in its row: that it is there, lives, how it gets on, and that it leaves."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import rows
from hpo.database.tables import IS_RUNNING, attempts, queue, workers


def register(
    connection: Connection, identity: dict[str, Any], grace: float, **more: str | None
) -> None:
    """Store the row of a worker, which is heard now.

    Args:
        more: Other columns of it: its study, images and versions.
    """
    moment = rows.now(connection)
    connection.execute(workers.delete().where(workers.c.id == identity["id"]))
    connection.execute(
        workers.insert().values(
            id=identity["id"],
            identity=json.dumps(identity),
            started_at=moment,
            heartbeat_at=moment,
            grace=grace,
            **more,
        )
    )


@dataclass(frozen=True)
class Beat:
    """What a worker learns with its heartbeat."""

    is_cancelled: bool  #: whether its study was called off
    holds: bool  #: whether its claim holds something still


def beat(
    connection: Connection,
    worker: str,
    study: str | None = None,
    token: str | None = None,
    *,
    pace: float | None = None,
    work_left: int = 0,
    moves: bool | None = None,
) -> Beat | None:
    """Note that a worker lives, and how it gets on, by one statement; None if it has no row.

    Args:
        study: That it works for.
        token: Of what it trains.
        pace: Seconds that an update of a network takes it.
        work_left: Updates of networks that are left of what it holds.
        moves: Whether its training has moved since the last time; None if it trains nothing.
    """
    moment = rows.clock(connection)
    told: dict[str, Any] = {"heartbeat_at": moment, "ended_at": None, "pace": pace}
    told["work_left"] = float(work_left)
    if moves is not False:
        told["moved_at"] = moment if moves else None
    cancelled = sa.exists().where(queue.c.study == study, queue.c.cancelled_at.is_not(None))
    held = sa.exists().where(attempts.c.study == study, attempts.c.token == token, IS_RUNNING)
    change = workers.update().where(workers.c.id == worker).values(**told)
    row = connection.execute(
        change.returning(sa.select(cancelled).scalar_subquery(), sa.select(held).scalar_subquery())
    ).one_or_none()
    return None if row is None else Beat(bool(row[0]), bool(row[1]))


def turn(connection: Connection, worker: str, study: str | None) -> None:
    """Note which study a worker works for from now on."""
    mine = workers.update().where(workers.c.id == worker)
    connection.execute(mine.values(study=study, idle_at=None, pace=None, moved_at=None))


def leave(connection: Connection, worker: str) -> None:
    """Note that a worker has left; its row can be swept, unless it still holds something."""
    mine = workers.update().where(workers.c.id == worker)
    connection.execute(mine.values(ended_at=rows.now(connection)))
