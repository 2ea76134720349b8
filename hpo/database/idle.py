"""Workers that have nothing to do for a study: a row each in the table of leases.

A row counts while its worker's heart beats, so that one who waits writes nothing more.
"""

import json

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import rows
from hpo.database.tables import leases, workers
from hpo.experiment.records import State
from hpo.machine.process import this_worker

HEARD = 5.0  #: seconds in which the heart of an idle worker must have beaten, or it may be dead


def is_said_idle(connection: Connection, study: str, worker: str) -> bool:
    """Tell whether this worker is noted as idle; a note may be swept while its worker is silent."""
    note = sa.select(leases.c.name).where(leases.c.name == _name(study, worker))
    return connection.execute(note).one_or_none() is not None


def say_idle(connection: Connection, study: str, worker: str) -> None:
    """Note that this worker has nothing to do for the study."""
    no_longer_idle(connection, study, worker)
    connection.execute(
        leases.insert().values(
            name=_name(study, worker),
            token=worker,
            holder=json.dumps(this_worker()),
            expires_at=rows.now(connection) + HEARD,
        )
    )


def no_longer_idle(connection: Connection, study: str, worker: str) -> None:
    """Take that back."""
    connection.execute(leases.delete().where(leases.c.name == _name(study, worker)))


def n_idle(connection: Connection, study: str) -> int:
    """Return how many workers are idle while nothing of the study waits."""
    if rows.count_attempts(connection, study).get(State.WAITING):
        return 0
    moment = rows.now(connection)
    query = (
        sa.select(sa.func.count())
        .select_from(leases.join(workers, workers.c.id == leases.c.token))
        .where(
            leases.c.name.like(_name(study, "%")),
            workers.c.ended_at.is_(None),
            workers.c.heartbeat_at.between(moment - HEARD, moment + 1.0),  # later: a clock was set
        )
    )
    return connection.execute(query).scalar_one()


def sweep(connection: Connection) -> None:
    """Delete the notes of workers that are not there any more."""
    present = sa.select(workers.c.id)
    gone = sa.and_(leases.c.name.like(_name("%", "%")), leases.c.token.not_in(present))
    connection.execute(leases.delete().where(gone))


def _name(study: str, worker: str) -> str:
    return f"idle {study} {worker}"
