"""Workers that have nothing to do for a study: a note in their rows.

It counts while a worker's heart beats, so that one who waits writes nothing more.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database.rows import clock
from hpo.database.tables import IS_RUNNING, IS_WAITING, attempts, leases, workers
from hpo.database.tally import HEARD


@dataclass(frozen=True)
class Sight:
    """What an idle worker sees."""

    some_wait: bool
    some_run: bool
    is_said: bool  #: whether it is noted as idle; its row may be swept while it is silent
    some_wait_elsewhere: bool
    is_planned: bool  #: whether somebody plans the study just now, or died while doing so


def look(connection: Connection, study: str, worker: str, elsewhere: list[str]) -> Sight:
    """Return whether there is something to do, by one statement, whatever the size of the study.

    Args:
        elsewhere: Other studies that the worker could turn to.
    """
    mine = attempts.c.study == study
    found: list[sa.ColumnElement[bool]] = [
        sa.exists().where(mine, condition) for condition in (IS_WAITING, IS_RUNNING)
    ]
    said = sa.exists().where(workers.c.id == worker, workers.c.idle_at == study)
    others = sa.exists().where(attempts.c.study.in_(elsewhere), IS_WAITING)
    planned = sa.exists().where(leases.c.name == f"plan {study}")
    found += [said, others if elsewhere else sa.false(), planned]
    row = connection.execute(sa.select(*found)).one()
    return Sight(*map(bool, row))


def say_idle(connection: Connection, study: str, worker: str) -> None:
    """Note that this worker has nothing to do for the study."""
    connection.execute(workers.update().where(workers.c.id == worker).values(idle_at=study))


def no_longer_idle(connection: Connection, worker: str) -> None:
    """Take that back."""
    connection.execute(workers.update().where(workers.c.id == worker).values(idle_at=None))


def n_idle(connection: Connection, study: str) -> int:
    """Return how many workers are idle while nothing of the study waits."""
    moment = clock(connection)
    query = (
        sa.select(sa.func.count())
        .select_from(workers)
        .where(
            workers.c.idle_at == study,
            workers.c.ended_at.is_(None),
            workers.c.heartbeat_at.between(moment - HEARD, moment + 1.0),  # later: a clock was set
            ~sa.exists().where(attempts.c.study == study, IS_WAITING),
        )
    )
    return int(connection.execute(query).scalar_one())
