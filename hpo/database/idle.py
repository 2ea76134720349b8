"""Workers that have nothing to do for a study: a row each in the table of leases, which expires."""

import json

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import rows
from hpo.database.tables import leases
from hpo.experiment.records import State
from hpo.machine.process import this_worker

LASTS = 3.0  #: seconds that a worker counts as idle after it said so


def say_idle(connection: Connection, study: str, worker: str) -> None:
    """Note that this worker has nothing to do for the study, for `LASTS` seconds."""
    no_longer_idle(connection, study, worker)
    connection.execute(
        leases.insert().values(
            name=_name(study, worker),
            token=worker,
            holder=json.dumps(this_worker()),
            expires_at=rows.now(connection) + LASTS,
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
    here = sa.and_(
        leases.c.name.like(_name(study, "%")),
        leases.c.expires_at.between(moment, moment + LASTS),  # later ones: a clock was set back
    )
    query = sa.select(sa.func.count()).select_from(leases).where(here)
    return connection.execute(query).scalar_one()


def _name(study: str, worker: str) -> str:
    return f"idle {study} {worker}"
