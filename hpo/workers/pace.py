"""Work for idle workers: who holds a stack gives half of it back when somebody has none.

An idle worker says so in a row that expires (in the table of leases), and each holder looks for
such rows when it writes the end of a cycle, where trials can change hands without a loss.
"""

import json
import time
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import rows
from hpo.database.storage import Storage
from hpo.database.tables import leases
from hpo.experiment.records import State
from hpo.machine.process import this_worker
from hpo.mirror.study import OpenStudy

LASTS = 3.0  #: seconds that a worker counts as idle after it said so
WORTH_SHARING = 1.0  #: seconds of training left from which another worker's start pays


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


class Pace:
    """How long a stack takes for an update, and so how long for what is left of it."""

    def __init__(self, n_updates: int) -> None:
        self._measured_at = time.monotonic()
        self._n_updates = n_updates

    def surplus(
        self,
        storage: Storage,
        study: OpenStudy,
        held: Collection[int],
        saved: Collection[int],
        n_updates: int,
    ) -> list[int]:
        """Return the cells to give back: an equal share for each idle worker.

        Args:
            held: Cells that are trained here.
            saved: Those with a checkpoint after just these ``n_updates``: nothing is lost by them.
        """
        now = time.monotonic()
        pace = (now - self._measured_at) / max(1, n_updates - self._n_updates)
        self._measured_at, self._n_updates = now, n_updates
        left = {cell: study.experiment.recipe(cell).n_updates - n_updates for cell in held}
        if len(left) < 2 or pace * max(left.values()) < WORTH_SHARING:
            return []
        idle = storage.read(lambda connection: n_idle(connection, study.uuid))
        n_given = len(left) - -(-len(left) // (idle + 1))
        can_go = [cell for cell in held if cell in saved]
        return can_go[len(can_go) - min(n_given, len(can_go)) :]


def _name(study: str, worker: str) -> str:
    return f"idle {study} {worker}"
